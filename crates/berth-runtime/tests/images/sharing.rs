//! Several fetches at once, and what is collected when.

use std::cell::RefCell;
use std::collections::BTreeSet;

use berth_model::{Bytes, Progress};
use berth_runtime::images::{ImageReference, StoreConfig};

use crate::support::{Tar, World, names};

fn noise(seed: u32, len: u32) -> Vec<u8> {
    (0..len / 4).flat_map(|n| (n ^ seed).wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

#[tokio::test]
async fn progress_counts_bytes_up_to_the_total() {
    let world = World::new();
    world.image("1", vec![Tar::new().file("a", &noise(1, 4 << 20)).bytes(), Tar::new().file("b", b"2").bytes()]);
    let seen = RefCell::new(Vec::new());
    let reference = ImageReference::parse(&format!("oci:{}:1", world.layout().display())).unwrap();
    world.store.ensure(&reference, None, |progress: Progress| seen.borrow_mut().push(progress)).await.unwrap();
    let seen = seen.take();
    assert!(seen.is_sorted_by_key(|p| p.done), "{seen:?}");
    let last = seen.last().unwrap();
    assert!(last.total.0 > 0 && last.done == last.total, "{seen:?}");
    let again = RefCell::new(0);
    world.store.ensure(&reference, None, |_| *again.borrow_mut() += 1).await.unwrap();
    assert_eq!(again.take(), 0, "nothing was to be fetched");
}

#[tokio::test]
async fn what_is_in_use_stays_and_the_least_recently_used_goes() {
    let world = World::with(StoreConfig { keep: Bytes(250_000), ..StoreConfig::default() });
    let base = Tar::new().file("base", &noise(0, 100_000)).bytes();
    for (tag, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        world.image(tag, vec![base.clone(), Tar::new().file(tag, &noise(seed, 60_000)).bytes()]);
    }
    let a = world.fetch("a").await.unwrap();
    let b = world.fetch("b").await.unwrap();
    let c = world.fetch("c").await.unwrap();
    let layers = || names(&world.path("images/layers/sha256")).len();
    assert_eq!(layers(), 4);
    // All three are held by their values.
    let collected = world.store.collect(&BTreeSet::new()).unwrap();
    assert_eq!((collected.images, collected.layers, layers()), (0, 0, 4));
    // `a` is the oldest, but runs; of the others the younger one fits beside it.
    let (a_digest, paths) = (a.digest, (a.layers.clone(), b.layers.clone(), c.layers.clone()));
    drop((a, b, c));
    let collected = world.store.collect(&BTreeSet::from([a_digest])).unwrap();
    assert_eq!((collected.images, collected.layers, collected.freed), (1, 1, Bytes(60_000)));
    assert!(paths.0.iter().chain(&paths.2).all(|path| path.is_dir()), "something in use is gone");
    assert!(!paths.1[0].exists() && paths.1[1].exists(), "the base is shared and stays");
    // It can be had again.
    assert_eq!(world.fetch("b").await.unwrap().layers, paths.1);
}

#[tokio::test]
async fn without_any_use_all_goes() {
    let world = World::with(StoreConfig { keep: Bytes(0), ..StoreConfig::default() });
    world.image("1", vec![Tar::new().file("a", &noise(1, 1000)).bytes()]);
    drop(world.fetch("1").await.unwrap());
    let collected = world.store.collect(&BTreeSet::new()).unwrap();
    assert_eq!((collected.images, collected.layers), (1, 1));
    for folder in ["blobs/sha256", "layers/sha256", "images", "names", "tmp"] {
        assert_eq!(names(&world.path("images").join(folder)), Vec::<String>::new(), "{folder}");
    }
}
