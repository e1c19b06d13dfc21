//! A disk that is full, and a cache that a crash or a hand has damaged.

use std::path::Path;

use berth_model::{FailureKind, NotReady, Retry};
use berth_runtime::images::{ImageReference, Store, StoreConfig};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::support::{Tar, World, names, nothing_in};

/// A file system of a few megabytes that ends with its value.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(path: &'a Path, options: &str) -> Small<'a> {
        std::fs::create_dir_all(path).unwrap();
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
        Small(path)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        umount2(self.0, MntFlags::MNT_DETACH).expect("what was mounted can be unmounted");
    }
}

async fn fails_full(options: &str, layer: Vec<u8>, words: &[&str]) {
    let world = World::new();
    world.image("1", vec![layer, Tar::new().file("small", b"x").bytes()]);
    let path = world.path("small");
    let _small = Small::mount(&path, options);
    // One after the other: else it is a matter of luck which of the two finds no room.
    let config = StoreConfig { parallel: 1, ..StoreConfig::default() };
    let store = Store::open(&path.join("images"), config).unwrap();
    let reference = ImageReference::parse(&format!("oci:{}:1", world.layout().display())).unwrap();
    for _ in 0..2 {
        let NotReady { failure, retry } = store.ensure(&reference, None, |_| ()).await.expect_err("there is no room");
        assert_eq!(retry, Retry::MayHelp);
        assert_eq!(failure.kind, FailureKind::DiskFull, "{}", failure.message);
        let place = path.join("images/tmp").display().to_string();
        for word in words.iter().chain([&place.as_str()]) {
            assert!(failure.message.contains(word), "no {word:?} in: {}", failure.message);
        }
        nothing_in(&path.join("images/tmp"));
    }
    drop(store);
}

#[tokio::test]
async fn a_full_disk_is_named_and_nothing_stays() {
    let zeros = Tar::new().file("big", &vec![0; 8 << 20]).bytes();
    fails_full("size=4m", zeros, &["the disk is full: cannot write ", "/fs/big: 8MiB wanted, "]).await;
}

#[tokio::test]
async fn a_disk_without_inodes_is_full_too() {
    let many = (0..100).fold(Tar::new(), |tar, n| tar.file(&format!("f{n}"), b""));
    fails_full("size=4m,nr_inodes=60", many.bytes(), &["the disk is full: cannot write ", "/fs/f"]).await;
}

#[tokio::test]
async fn what_was_damaged_is_fetched_again() {
    let world = World::new();
    world.image("1", vec![Tar::new().file("a", b"1").bytes()]);
    let image = world.fetch("1").await.unwrap();
    let blobs = world.path("images/blobs/sha256");
    for name in names(&blobs) {
        std::fs::write(blobs.join(name), "half").unwrap();
    }
    for name in names(&world.path("images/images")) {
        std::fs::write(world.path("images/images").join(name), "{").unwrap();
    }
    std::fs::remove_dir_all(image.layers[0].parent().unwrap()).unwrap();
    let again = world.fetch("1").await.unwrap();
    assert_eq!((again.digest, &again.config), (image.digest, &image.config));
    assert_eq!(std::fs::read(again.layers[0].join("a")).unwrap(), b"1");
}
