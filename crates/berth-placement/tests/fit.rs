//! What room is worth, for mixes whose answers are plain.

use berth_placement::fit::{Ask, ClassSet, Mix, NodeClass, Prices, Room, Shape};

const DEVICE: i64 = 1_000_000;
const GIB: u64 = 1 << 30;

fn shape(ask: Ask) -> Shape {
    Shape { cpu: 4_000, memory: 8 * GIB, ask, wish: 0 }
}

fn mix(shapes: &[(Shape, u64)]) -> Mix {
    let mut mix = Mix::default();
    shapes.iter().for_each(|(shape, weight)| mix.add(*shape, *weight));
    mix
}

fn worth(prices: &Prices, room: &Room<'_>) -> i64 {
    prices.value(room).worth()
}

/// Room with plenty of cpu and memory.
fn room(class: usize, shares: &[u16]) -> Room<'_> {
    Room { class: NodeClass::new(class), cpu: 1_000_000, memory: 1_000 * GIB, shares }
}

#[test]
fn a_remainder_that_nothing_asks_for_is_worth_nothing() {
    let prices =
        Prices::settle(&mix(&[(shape(Ask::Share(810)), 1), (shape(Ask::Share(300)), 1)]), &[], &[room(0, &[1_000; 8])]);
    assert_eq!(worth(&prices, &room(0, &[290])), 0);
    assert_eq!(worth(&prices, &room(0, &[])), 0);
    let whole = worth(&prices, &room(0, &[1_000]));
    assert!((DEVICE * 7 / 10..DEVICE * 11 / 10).contains(&whole), "a whole device is worth about one: {whole}");
    let two = worth(&prices, &room(0, &[1_000, 1_000]));
    assert!((two - 2 * whole).abs() <= 1, "and two of them are worth two: {two}");
}

#[test]
fn what_completes_a_device_costs_less_than_what_breaks_one() {
    let (left, right) = (shape(Ask::Share(600)), shape(Ask::Share(400)));
    let prices =
        Prices::settle(&mix(&[(left, 1), (right, 1), (shape(Ask::Whole(1)), 2)]), &[], &[room(0, &[1_000; 64])]);
    let cost = |before: u16, after: u16| worth(&prices, &room(0, &[before])) - worth(&prices, &room(0, &[after]));
    assert!(cost(400, 0) < cost(1_000, 600), "400 goes beside 600");
    assert!(cost(400, 0) < cost(600, 200), "and not where 600 would go");
}

#[test]
fn devices_that_only_some_can_use_instead_of_others_are_dear() {
    let admitted = [ClassSet::ALL, ClassSet::of([NodeClass::new(1)])];
    let bound = Shape { wish: 1, ..shape(Ask::Whole(1)) };
    let mix = mix(&[(shape(Ask::Whole(1)), 1), (bound, 1)]);
    let (plenty, few) = ([1_000; 90], [1_000; 10]);
    let prices = Prices::settle(&mix, &admitted, &[room(0, &plenty), room(1, &few)]);
    let (common, scarce) = (worth(&prices, &room(0, &[1_000])), worth(&prices, &room(1, &[1_000])));
    assert!(scarce > common + DEVICE / 20, "{scarce} for the scarce, {common} for the common");
}

#[test]
fn what_comes_for_the_first_time_does_not_upset_the_prices() {
    let admitted = [ClassSet::ALL, ClassSet::of([NodeClass::new(1)])];
    let bound = Shape { wish: 1, ..shape(Ask::Whole(1)) };
    let mut mix = mix(&[(shape(Ask::Whole(1)), 1_000), (bound, 1_000)]);
    let (plenty, few) = ([1_000; 90], [1_000; 10]);
    let rooms = [room(0, &plenty), room(1, &few)];
    let mut prices = Prices::settle(&mix, &admitted, &rooms);
    let dearer = |prices: &Prices| worth(prices, &room(1, &[1_000])) - worth(prices, &room(0, &[1_000]));
    let before = dearer(&prices);
    (3_000..3_040).for_each(|cpu| mix.add(Shape { cpu, ..shape(Ask::Whole(1)) }, 1));
    prices.follow(&mix, &admitted, &rooms);
    let after = dearer(&prices);
    assert!(after > before * 3 / 4, "the scarce were dearer by {before} and are by {after}");
}

#[test]
fn idle_devices_without_cpu_or_memory_are_worth_next_to_nothing() {
    let prices = Prices::settle(&mix(&[(shape(Ask::Whole(1)), 1)]), &[], &[room(0, &[1_000; 8])]);
    let full = worth(&prices, &room(0, &[1_000; 4]));
    let without = |cpu, memory| worth(&prices, &Room { cpu, memory, ..room(0, &[1_000; 4]) });
    for nothing in [without(0, 1_000 * GIB), without(1_000_000, 0)] {
        assert!(nothing < full / 20, "{nothing} of {full}");
    }
    let half = without(8_000, 1_000 * GIB);
    assert!((full * 9 / 20..full * 11 / 20).contains(&half), "cpu for two of four: {half} of {full}");
}

#[test]
fn worth_never_falls_with_the_room() {
    let prices = Prices::settle(
        &mix(&[(shape(Ask::Share(470)), 7), (shape(Ask::Share(320)), 3), (shape(Ask::Whole(2)), 1)]),
        &[],
        &[room(0, &[1_000; 8])],
    );
    let worths: Vec<i64> = (0..=1_000).map(|share| worth(&prices, &room(0, &[share]))).collect();
    assert!(worths.windows(2).all(|pair| pair[0] <= pair[1]));
}

#[test]
fn what_is_taken_is_weighed_as_if_the_room_were_looked_at_anew() {
    let mix = mix(&[(shape(Ask::Share(470)), 7), (shape(Ask::Share(320)), 3), (shape(Ask::Whole(2)), 1)]);
    let prices = Prices::settle(&mix, &[], &[room(0, &[1_000; 8])]);
    let before = Room { cpu: 20_000, memory: 40 * GIB, ..room(0, &[1_000, 1_000, 680, 530, 0]) };
    let value = prices.value(&before);
    let afresh = |cpu: u64, gib: u64, shares: &[u16]| {
        let (cpu, memory) = (before.cpu.saturating_sub(cpu), before.memory.saturating_sub(gib * GIB));
        prices.value(&Room { cpu, memory, ..room(0, shares) })
    };
    let after =
        |cpu: u64, gib: u64, taken: &[(u16, u16)]| prices.value_after(&value, cpu, gib * GIB, taken.iter().copied());
    assert_eq!(after(4_000, 8, &[(680, 470)]), afresh(4_000, 8, &[1_000, 1_000, 210, 530, 0]));
    let two = [(1_000, 1_000), (1_000, 1_000)];
    assert_eq!(after(16_000, 1, &two), afresh(16_000, 1, &[0, 0, 680, 530, 0]));
    let shares = [(1_000, 470), (530, 530)];
    assert_eq!(after(1_000, 40, &shares), afresh(1_000, 40, &[530, 1_000, 680, 0, 0]));
    assert_eq!(after(30_000, 50, &[]), afresh(30_000, 50, before.shares), "more than there is");
}

#[test]
fn following_a_change_comes_to_about_what_starting_anew_does() {
    let (before, after) = ([1_000; 100], [530; 100]);
    let mix = mix(&[(shape(Ask::Share(470)), 4), (shape(Ask::Share(530)), 1), (shape(Ask::Share(260)), 2)]);
    let mut followed = Prices::settle(&mix, &[], &[room(0, &before)]);
    (0..20).for_each(|_| followed.follow(&mix, &[], &[room(0, &after)]));
    let anew = Prices::settle(&mix, &[], &[room(0, &after)]);
    for share in [260, 470, 530, 1_000] {
        let (followed, anew) = (worth(&followed, &room(0, &[share])), worth(&anew, &room(0, &[share])));
        assert!((followed - anew).abs() < DEVICE / 20, "{share}: {followed} and {anew}");
    }
}

#[test]
fn prices_of_nothing_are_nothing() {
    let none = Prices::settle(&Mix::default(), &[], &[room(0, &[1_000])]);
    assert_eq!(worth(&none, &room(0, &[1_000])), 0);
    let empty = Prices::settle(&mix(&[(shape(Ask::Whole(1)), 1)]), &[], &[]);
    assert_eq!(worth(&empty, &room(3, &[1_000])), 0);
}
