//! The packing experiment, on small clusters of our own.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use berth_model::BuiltIn;
use berth_sim::pack::{Batches, Gpus, Knowledge, Packing, TraceNode, TracePods, pack, read_nodes, read_pods};

/// Twelve nodes of two models; the second is scarce.
fn nodes() -> Vec<TraceNode> {
    let row = |at: u32| match at % 6 {
        0 => format!("n-{at},104000,524288,2,small\n"),
        _ => format!("n-{at},96000,393216,8,big\n"),
    };
    let rows: String = (0..12).map(row).collect();
    read_nodes(format!("sn,cpu_milli,memory_mib,gpu,model\n{rows}").as_bytes(), "nodes.csv").unwrap()
}

/// Shapes that fit each other in some ways and not in others, one model asked for by name.
fn pods() -> TracePods {
    let shapes = [
        ("11300,49152,1,1000,", 30),
        ("3152,5600,1,810,", 12),
        ("11908,47104,1,470,", 16),
        ("8000,30517,1,320,", 10),
        ("6000,12288,1,650,", 8),
        ("64000,262144,4,1000,", 1),
        ("4000,8192,1,160,", 6),
        ("32000,49152,0,0,", 6),
        ("3000,8192,1,1000,small", 4),
    ];
    let pods = shapes.iter().flat_map(|(shape, count)| std::iter::repeat_n(shape, *count));
    let rows: String = (0..).zip(pods).map(|(at, shape): (u32, _)| format!("pod-{at},{shape}\n")).collect();
    let header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n";
    read_pods(format!("{header}{rows}").as_bytes(), "pods.csv").unwrap()
}

/// `count` arrivals, shuffled: the same seed, the same order.
fn order(seed: u64, count: usize) -> Vec<usize> {
    let mut state = seed;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    let len = pods().all().len();
    let mut order: Vec<usize> = (0..count).map(|at| at % len).collect();
    (1..count).rev().for_each(|at| order.swap(at, random() % (at + 1)));
    order
}

fn packed(order: &[usize], policy: BuiltIn, knowledge: Knowledge) -> Packing {
    pack(&nodes(), &pods(), order, policy, knowledge, Batches::SINGLE, || ())
}

fn packed_in_batches(order: &[usize], arrivals: usize, moves: usize) -> Packing {
    let batches = Batches { arrivals, moves };
    pack(&nodes(), &pods(), order, BuiltIn::Fragmentation, Knowledge::Known, batches, || ())
}

/// What is allocated when as much has arrived as there is, in hundredths of a percent.
fn allocated(packing: &Packing) -> u64 {
    let cell = packing.cells.iter().rfind(|cell| cell.arrived_pct <= 100).unwrap();
    (cell.allocated_pct * 100.0).round() as u64
}

#[test]
fn what_arrives_later_changes_no_decision() {
    let (before, len) = (60, 140);
    let order = order(1, len);
    let mut other = order.clone();
    other[before..].reverse();
    assert_ne!(order, other);
    for knowledge in [Knowledge::Known, Knowledge::Learned] {
        let (one, two) =
            (packed(&order, BuiltIn::Fragmentation, knowledge), packed(&other, BuiltIn::Fragmentation, knowledge));
        assert_eq!(one.decisions[..before], two.decisions[..before], "{knowledge:?}");
        assert_ne!(one.decisions, two.decisions, "the arrivals do matter");
    }
}

#[test]
fn what_arrives_in_later_batches_changes_no_decision() {
    let (batch, before, len) = (20, 60, 140);
    let order = order(1, len);
    let mut other = order.clone();
    other[before..].reverse();
    let (one, two) = (packed_in_batches(&order, batch, 2), packed_in_batches(&other, batch, 2));
    assert_eq!(one.decisions[..before], two.decisions[..before]);
    assert_ne!(one.decisions, two.decisions, "the arrivals do matter");
}

#[test]
fn moves_are_counted_and_bounded() {
    let order = order(4, 140);
    assert_eq!(packed_in_batches(&order, 20, 0).moves, 0);
    let moved = packed_in_batches(&order, 20, 2);
    assert!((1..=14).contains(&moved.moves), "{}", moved.moves);
    assert_eq!(moved.placed + moved.rejected, 140);
}

#[test]
fn a_move_makes_room_for_who_would_be_turned_away() {
    let nodes = "sn,cpu_milli,memory_mib,gpu,model\na,64000,65536,2,m\nb,8000,8192,1,m\n";
    let pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n\
        share,1000,1024,1,500,\nlarge,1000,1024,2,1000,\nfiller,16000,1024,1,1000,\n";
    let (nodes, pods) = (read_nodes(nodes.as_bytes(), "nodes").unwrap(), read_pods(pods.as_bytes(), "pods").unwrap());
    let run = |moves| {
        let batches = Batches { arrivals: 1, moves };
        pack(&nodes, &pods, &[0, 1], BuiltIn::Balanced, Knowledge::Known, batches, || ())
    };
    let (still, moved) = (run(0), run(1));
    assert_eq!((still.decisions, still.moves), (vec![Some(0), None], 0), "the share is in the way");
    assert_eq!((moved.decisions, moved.moves), (vec![Some(0), Some(0)], 1), "the share goes to the other node");
}

#[test]
fn what_fits_somewhere_is_placed() {
    let (nodes, pods, order) = (nodes(), pods(), order(2, 160));
    let packing = packed(&order, BuiltIn::Fragmentation, Knowledge::Known);
    assert_eq!(packing.placed + packing.rejected, 160);
    assert!(packing.rejected > 0, "more is asked for than there is");
    // Without shares of GPUs, what a node has left follows from the decisions alone.
    let mut free: Vec<(u64, u64, u16)> = nodes.iter().map(|n| (n.cpu_milli, n.memory_mib, n.gpus)).collect();
    let whole: Vec<usize> = order.into_iter().filter(|pod| !matches!(pods.all()[*pod].gpus, Gpus::Share(_))).collect();
    let packing = packed(&whole, BuiltIn::Fragmentation, Knowledge::Known);
    for (pod, node) in whole.iter().map(|pod| &pods.all()[*pod]).zip(&packing.decisions) {
        let gpus = match pod.gpus {
            Gpus::Whole(count) => count,
            Gpus::None | Gpus::Share(_) => 0,
        };
        let admits = |at: usize| gpus == 0 || pod.models.is_empty() || pod.models.contains(&nodes[at].model);
        let fits = |at: usize, (cpu, memory, idle): (u64, u64, u16)| {
            pod.cpu_milli <= cpu && pod.memory_mib <= memory && gpus <= idle && admits(at)
        };
        match node {
            Some(at) => {
                assert!(fits(*at, free[*at]), "{pod:?} on node {at} with {:?}", free[*at]);
                let (cpu, memory, idle) = free[*at];
                free[*at] = (cpu - pod.cpu_milli, memory - pod.memory_mib, idle - gpus);
            }
            None => assert!(!free.iter().enumerate().any(|(at, free)| fits(at, *free)), "{pod:?} fits: {free:?}"),
        }
    }
}

#[test]
fn fragmentation_allocates_more_than_packing_and_spreading() {
    let mean = |policy, knowledge| {
        let of = |seed| allocated(&packed(&order(seed, 150), policy, knowledge));
        (0..5).map(of).sum::<u64>() / 5
    };
    let (pack, spread) = (mean(BuiltIn::Pack, Knowledge::Known), mean(BuiltIn::Balanced, Knowledge::Known));
    let known = mean(BuiltIn::Fragmentation, Knowledge::Known);
    let learned = mean(BuiltIn::Fragmentation, Knowledge::Learned);
    assert!(known > pack && known > spread, "{known} against {pack} and {spread}");
    assert!(learned > pack && learned > spread, "{learned} against {pack} and {spread}");
}
