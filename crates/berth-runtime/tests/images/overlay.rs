//! Whiteouts, as the kernel's overlayfs sees them.

use std::collections::BTreeMap;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tar::EntryType;

use crate::support::{Tar, World, contents};

/// An overlay mount that ends with its value.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        umount2(self.0, MntFlags::MNT_DETACH).expect("what was mounted can be unmounted");
    }
}

/// Mounts the layers, read-only, and reads all there is.
fn merged(world: &World, layers: &[std::path::PathBuf]) -> BTreeMap<String, String> {
    let target = world.path("merged");
    std::fs::create_dir_all(&target).unwrap();
    // At least two lower directories are needed where there is no upper one.
    let empty = world.path("empty");
    std::fs::create_dir_all(&empty).unwrap();
    let lower: Vec<_> = layers.iter().chain([&empty]).map(|path| path.display().to_string()).collect();
    let options = format!("lowerdir={}", lower.join(":"));
    mount(Some("overlay"), &target, Some("overlay"), MsFlags::MS_RDONLY, Some(options.as_str())).unwrap();
    let _mounted = Mounted(&target);
    contents(&target)
}

#[tokio::test]
async fn whiteouts_hide_what_lies_below_and_nothing_else() {
    let world = World::new();
    let base = Tar::new()
        .file("gone", b"base")
        .file("kept", b"base")
        .folder("opaque")
        .file("opaque/old", b"base")
        .folder("replaced")
        .file("replaced/old", b"base")
        .folder("deep/er")
        .file("deep/er/gone", b"base")
        .file("deep/er/kept", b"base")
        .file("same", b"base")
        .file("was_file", b"base");
    let top = Tar::new()
        .file(".wh.gone", b"")
        .folder("opaque")
        .file("opaque/new", b"top")
        .file("opaque/.wh..wh..opq", b"")
        .file(".wh.replaced", b"")
        .folder("replaced")
        .file("replaced/new", b"top")
        // No entry for the folders: they are made on the way.
        .file("deep/er/.wh.gone", b"")
        .file("same", b"top")
        .file(".wh.same", b"")
        .file(".wh.never_there", b"")
        .file(".wh..wh.plnk", b"")
        .file(".wh.was_file", b"")
        .link(EntryType::Symlink, "was_file", "kept");
    world.image("1", vec![base.bytes(), top.bytes()]);
    let image = world.fetch("1").await.unwrap();
    let found = merged(&world, &image.layers);
    let expected = [
        ("deep", "folder"),
        ("deep/er", "folder"),
        ("deep/er/kept", "base"),
        ("kept", "base"),
        ("opaque", "folder"),
        ("opaque/new", "top"),
        ("replaced", "folder"),
        ("replaced/new", "top"),
        ("same", "top"),
        ("was_file", "-> kept"),
    ];
    let found: Vec<_> = found.iter().map(|(path, what)| (path.as_str(), what.as_str())).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_whiteout_of_nothing_is_refused() {
    let world = World::new();
    for (tag, name) in [("empty", "a/.wh."), ("dot", ".wh.."), ("dots", ".wh...")] {
        world.image(tag, vec![Tar::new().file(name, b"").bytes()]);
        let result = world.fetch(tag).await;
        world.expect_failure(result, berth_model::FailureKind::Image, &["hides nothing that can have a name"]);
    }
}
