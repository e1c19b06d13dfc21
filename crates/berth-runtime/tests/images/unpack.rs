//! What a layer's archive may do to the disk, and what it may not.

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use berth_model::{Bytes, FailureKind};
use berth_runtime::images::StoreConfig;
use tar::EntryType;

use crate::support::{Tar, World, contents, header};

#[tokio::test]
async fn no_path_leads_out_of_the_layer() {
    let world = World::new();
    let outside = world.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), "kept").unwrap();
    let there = outside.to_str().unwrap();
    let refused = [
        ("dots", Tar::new().file("../../outside/x", b"bad"), "`../../outside/x`: its path leads out of the layer"),
        ("inner", Tar::new().file("a/../../x", b"bad"), "its path leads out of the layer"),
        ("hard", Tar::new().link(EntryType::Link, "x", "../outside/kept"), "its link leads out of the layer"),
        (
            "hard through a link",
            Tar::new().link(EntryType::Symlink, "l", there).link(EntryType::Link, "x", "l/kept"),
            "hard link to nothing in its layer",
        ),
        ("hard to a link", Tar::new().link(EntryType::Link, "x", "x"), "hard link to itself"),
        ("through a file", Tar::new().file("a", b"").file("a/b", b"bad"), "`a/b`: its folder is a file"),
        (
            "in circles",
            Tar::new().link(EntryType::Symlink, "a", "b").link(EntryType::Symlink, "b", "a").file("a/x", b""),
            "its folder is a link to itself",
        ),
        ("odd", Tar::new().entry("x", EntryType::new(b'Q'), 0o644, b""), "its type is unknown"),
    ];
    for (tag, tar, words) in refused {
        let tag = tag.replace(' ', "-");
        world.image(&tag, vec![tar.bytes()]);
        let result = world.fetch(&tag).await;
        world.expect_failure(result, FailureKind::Image, &["refused the entry", words]);
    }
    // Links are followed as a process with that root would follow them: to within.
    let inside = Tar::new().link(EntryType::Symlink, "l", there).file("l/x", b"in").file("/abs", b"in");
    world.image("in", vec![inside.bytes()]);
    let result = world.fetch("in").await;
    // The link's target is not there below the root, so there is no folder to write to.
    world.expect_failure(result, FailureKind::Image, &["`l/x`: its folder is a link to nothing"]);
    let inside = Tar::new().folder("d").link(EntryType::Symlink, "l", "/d").file("l/x", b"in").file("/abs", b"in");
    world.image("in", vec![inside.bytes()]);
    let image = world.fetch("in").await.unwrap();
    let found = contents(&image.layers[0]);
    assert_eq!((found["d/x"].as_str(), found["abs"].as_str()), ("in", "in"));
    assert_eq!(contents(&outside).into_iter().collect::<Vec<_>>(), [("kept".to_owned(), "kept".to_owned())]);
}

#[tokio::test]
async fn owners_modes_times_attributes_and_devices_survive() {
    let world = World::new();
    let mut owned = header(EntryType::Regular, 0o4755, 3);
    owned.set_uid(1234);
    owned.set_gid(70_000);
    let mut null = header(EntryType::Char, 0o666, 0);
    null.set_device_major(1).unwrap();
    null.set_device_minor(3).unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::new()
        .entry("d/", EntryType::Directory, 0o1777, b"")
        .pax(&[
            ("mtime", b"1600000000.250000000"),
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ])
        .raw(&mut owned, "d/suid", b"abc")
        .link(EntryType::Link, "d/same", "d/suid")
        .raw(&mut null, "null", b"")
        .entry("pipe", EntryType::Fifo, 0o600, b"");
    world.image("1", vec![tar.bytes()]);
    let root = world.fetch("1").await.unwrap().layers[0].clone();
    let meta = std::fs::metadata(root.join("d/suid")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777, meta.nlink()), (1234, 70_000, 0o4755, 2));
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_600_000_000, 250_000_000));
    let mut value = [0; 64];
    let n = rustix::fs::lgetxattr(root.join("d/suid"), "security.capability", &mut value).unwrap();
    assert_eq!(value[..n], capability);
    assert!(rustix::fs::lgetxattr(root.join("d/suid"), "trusted.overlay.opaque", &mut value).is_err());
    let meta = std::fs::metadata(root.join("d")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o1777, 1_600_000_000), "set before its files were written");
    let meta = std::fs::metadata(root.join("null")).unwrap();
    assert_eq!((meta.rdev(), meta.mode() & 0o7777), (rustix::fs::makedev(1, 3), 0o666));
    assert!(std::fs::metadata(root.join("pipe")).unwrap().file_type().is_fifo());
}

#[tokio::test]
async fn later_entries_replace_earlier_ones() {
    let world = World::new();
    let tar = Tar::new().folder("a").file("a/x", b"1").file("a", b"file").file("b", b"1").file("b", b"2").folder("b");
    world.image("1", vec![tar.bytes()]);
    let image = world.fetch("1").await.unwrap();
    let found: Vec<_> = contents(&image.layers[0]).into_iter().collect();
    assert_eq!(found, [("a".to_owned(), "file".to_owned()), ("b".to_owned(), "folder".to_owned())]);
}

/// Folders within each other, far more than a path can name: each link leads to where the one before it has come to.
fn deep(mut tar: Tar) -> Tar {
    const LEVELS: usize = 2000;
    const LINKS: usize = 10;
    for link in 0..LINKS {
        let from = if link == 0 { "deep".to_owned() } else { format!("l{}", link - 1) };
        let down = from + &"/d".repeat(LEVELS);
        tar = tar.pax(&[("path", down.as_bytes())]).folder("-");
        tar = tar.pax(&[("linkpath", down.as_bytes())]).link(EntryType::Symlink, &format!("l{link}"), "-");
    }
    tar
}

#[tokio::test]
async fn folders_of_any_depth_are_removed() {
    let world = World::in_memory(StoreConfig { keep: Bytes(0), ..StoreConfig::default() });
    // By a later entry, ...
    world.image("replaced", vec![deep(Tar::new()).file("deep", b"a file").bytes()]);
    let image = world.fetch("replaced").await.unwrap();
    assert_eq!(std::fs::read(image.layers[0].join("deep")).unwrap(), b"a file");
    // ... since what comes after them is refused, ...
    world.image("refused", vec![deep(Tar::new()).entry("x", EntryType::new(b'Q'), 0o644, b"").bytes()]);
    let result = world.fetch("refused").await;
    world.expect_failure(result, FailureKind::Image, &["its type is unknown"]);
    // ... and since nobody needs them any more.
    world.image("whole", vec![deep(Tar::new()).file("file", b"x").bytes()]);
    drop((image, world.fetch("whole").await.unwrap()));
    assert_eq!(world.store.collect(&BTreeSet::new()).unwrap().images, 2);
    world.nothing_unfinished();
}

#[tokio::test]
async fn what_no_disk_can_name_is_the_archives_fault() {
    let world = World::new();
    let (long, attribute) = ("x".repeat(256), "y".repeat(70_000));
    let cases = [
        ("long", Tar::new().pax(&[("path", long.as_bytes())]).file("-", b""), "a part of its path is too long"),
        ("zero", Tar::new().pax(&[("path", b"a\0b")]).file("-", b""), "its path holds a zero byte"),
        ("link", Tar::new().pax(&[("linkpath", b"")]).link(EntryType::Symlink, "l", ""), "it is a link to nothing"),
        (
            "attribute",
            Tar::new().pax(&[("SCHILY.xattr.user.a", attribute.as_bytes())]).file("f", b""),
            "an extended attribute is larger than the kernel takes",
        ),
    ];
    for (tag, tar, words) in cases {
        world.image(tag, vec![tar.bytes()]);
        let result = world.fetch(tag).await;
        world.expect_failure(result, FailureKind::Image, &["refused the entry", words]);
    }
}

#[tokio::test]
async fn a_layer_is_bounded() {
    let config = StoreConfig { max_layer: Bytes::mib(1), max_entries: 3, ..StoreConfig::default() };
    let world = World::with(config);
    let zeros = vec![0; 2 << 20];
    world.image("bomb", vec![Tar::new().file("a", &zeros).bytes()]);
    let result = world.fetch("bomb").await;
    world.expect_failure(result, FailureKind::Image, &["refused a layer of more than 1MiB unpacked"]);
    world.image("tail", vec![[Tar::new().file("a", b"").bytes(), zeros.clone()].concat()]);
    let result = world.fetch("tail").await;
    world.expect_failure(result, FailureKind::Image, &["refused a layer of more than 1MiB unpacked"]);
    world.image("many", vec![["a", "b", "c", "d"].iter().fold(Tar::new(), |tar, name| tar.file(name, b"")).bytes()]);
    let result = world.fetch("many").await;
    world.expect_failure(result, FailureKind::Image, &["refused a layer of more than 3 entries"]);
    world.image("header", vec![Tar::new().pax(&[("comment", &zeros)]).file("a", b"").bytes()]);
    let result = world.fetch("header").await;
    world.expect_failure(result, FailureKind::Image, &["headers of one entry exceed 1 MiB"]);
}

#[tokio::test]
async fn headers_count_and_folders_are_remembered_within_bounds() {
    let config = StoreConfig { max_layer: Bytes::mib(1), max_folders: Bytes(16 << 10), ..StoreConfig::default() };
    let world = World::with(config);
    let empty = (0..2500).fold(Tar::new(), |tar, n| tar.file(&format!("f{n}"), b""));
    world.image("headers", vec![empty.bytes()]);
    let result = world.fetch("headers").await;
    world.expect_failure(result, FailureKind::Image, &["refused a layer of more than 1MiB unpacked"]);

    let name = |n: usize| format!("{n:04}{}", "x".repeat(90));
    let folders = |names: &mut dyn Iterator<Item = usize>| names.fold(Tar::new(), |tar, n| tar.folder(&name(n)));
    world.image("long", vec![folders(&mut (0..200)).bytes()]);
    let result = world.fetch("long").await;
    world.expect_failure(result, FailureKind::Image, &["folders whose names take more than 16KiB"]);
    // One that comes again and again is one.
    world.image("same", vec![folders(&mut std::iter::repeat_n(7, 200)).bytes()]);
    let image = world.fetch("same").await.unwrap();
    assert_eq!(contents(&image.layers[0]).len(), 1);
}
