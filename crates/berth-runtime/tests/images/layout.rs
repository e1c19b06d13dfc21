//! Layout folders and archives, good and broken.

use std::path::Path;

use berth_model::{FailureKind, Retry};
use berth_runtime::images::{ImageConfig, build};

use crate::support::{Tar, World, contents, names, noise, run};

#[tokio::test]
async fn a_folder_becomes_an_image_and_comes_back() {
    let world = World::new();
    let root = world.path("root");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", root.join("bin/sh")).unwrap();
    let config = ImageConfig {
        env: vec!["A=1".into()],
        entrypoint: vec!["/bin/sh".into()],
        cmd: vec!["-c".into()],
        user: Some("1000:1000".into()),
        working_dir: Some("/tmp".into()),
        stop_signal: Some("SIGINT".into()),
    };
    let digest = build::from_folder(&root, &config, &world.layout(), "a").unwrap();
    assert_eq!(build::from_folder(&root, &config, &world.layout(), "b").unwrap(), digest, "not reproducible");
    let image = world.fetch("a").await.unwrap();
    assert_eq!((image.digest, &image.config, image.layers.len()), (digest, &config, 1));
    assert_eq!(contents(&image.layers[0])["bin/sh"], "-> busybox");
    let ran = run(image.layers[0].join("bin/busybox").to_str().unwrap(), &["echo", "here"]);
    assert_eq!(ran, "here\n");
}

#[tokio::test]
async fn what_other_tools_make_is_read() {
    let world = World::new();
    world.image("1", vec![Tar::new().file("a", b"1").bytes(), Tar::new().file("b", b"2").bytes()]);
    let layout = world.layout();
    let archive = world.path("image.tar");
    let docker = world.path("docker");
    let copy =
        |from: String, to: String, options: &[&str]| run("skopeo", &[&["copy"], options, &[&from, &to]].concat());
    copy(format!("oci:{}:1", layout.display()), format!("oci-archive:{}:1", archive.display()), &[]);
    copy(
        format!("oci:{}:1", layout.display()),
        format!("oci:{}:zstd", docker.display()),
        &["--dest-compress-format", "zstd"],
    );
    let plain = world.ensure(&format!("oci-archive:{}:1", archive.display())).await.unwrap();
    let untagged = world.ensure(&format!("oci-archive:{}", archive.display())).await.unwrap();
    assert_eq!(plain.digest, untagged.digest);
    assert_eq!(contents(&plain.layers[0])["b"], "2", "the topmost layer goes first");
    assert_eq!(contents(&plain.layers[1])["a"], "1");
    let zstd = world.ensure(&format!("oci:{}:zstd", docker.display())).await.unwrap();
    assert_eq!(zstd.layers, plain.layers, "the same contents are one layer, however packed");

    let umoci = world.path("umoci");
    run("umoci", &["init", "--layout", umoci.to_str().unwrap()]);
    let image = format!("{}:new", umoci.display());
    run("umoci", &["new", "--image", &image]);
    run("umoci", &["insert", "--image", &image, world.path("layout").to_str().unwrap(), "/in"]);
    let image = world.ensure(&format!("oci:{image}")).await.unwrap();
    assert!(contents(&image.layers[0]).contains_key("in/index.json"));
}

#[tokio::test]
async fn tags_are_found_or_named() {
    let world = World::new();
    world.image("one", vec![Tar::new().file("a", b"1").bytes()]);
    world.image("two", vec![Tar::new().file("a", b"2").bytes()]);
    let two = world.fetch("two").await.unwrap();
    assert_eq!(contents(&two.layers[0])["a"], "2");
    let result = world.fetch("three").await;
    world.expect_failure(result, FailureKind::Image, &["has no tag `three`; it has: one, two"]);
    let result = world.ensure(&format!("oci:{}", world.layout().display())).await;
    world.expect_failure(result, FailureKind::Image, &["several images; add one of these tags: one, two"]);
    let result = world.ensure("oci:/nowhere/at/all:1").await;
    world.expect_failure(result, FailureKind::Image, &["cannot read /nowhere/at/all/index.json: No such file"]);
    let result = world.ensure("oci-archive:/etc/hostname").await;
    world.expect_failure(result, FailureKind::Image, &["cannot read /etc/hostname"]);
}

/// The largest blob of the layout, which is the layer where it has some size.
fn layer(layout: &Path) -> std::path::PathBuf {
    let blobs = layout.join("blobs/sha256");
    let size = |name: &String| std::fs::metadata(blobs.join(name)).unwrap().len();
    blobs.join(names(&blobs).into_iter().max_by_key(size).unwrap())
}

#[tokio::test]
async fn tampered_layers_are_refused_and_nothing_is_kept() {
    let world = World::new();
    world.image("1", vec![Tar::new().file("a", &noise()).bytes()]);
    let path = layer(&world.layout());
    let good = std::fs::read(&path).unwrap();

    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    let result = world.fetch("1").await;
    world.expect_failure(result, FailureKind::ImageDigest, &["layer is not what its digest says: expected sha256:"]);

    std::fs::write(&path, &good[..good.len() - 9]).unwrap();
    let result = world.fetch("1").await;
    world.expect_failure(result, FailureKind::ImageDigest, &["long, not"]);

    std::fs::write(&path, [&good[..], b"more"].concat()).unwrap();
    let result = world.fetch("1").await;
    world.expect_failure(result, FailureKind::ImageDigest, &["long, not"]);

    assert_eq!(names(&world.path("images/layers/sha256")), Vec::<String>::new());
    std::fs::write(&path, &good).unwrap();
    world.fetch("1").await.unwrap();
}

#[tokio::test]
async fn documents_that_are_not_what_they_should_be_are_refused() {
    let world = World::new();
    world.image("1", vec![Tar::new().file("a", &noise()).bytes()]);
    let index = std::fs::read_to_string(world.layout().join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let manifest = index["manifests"][0]["digest"].as_str().unwrap().replace("sha256:", "");
    let manifest = world.layout().join("blobs/sha256").join(manifest);
    let good = std::fs::read_to_string(&manifest).unwrap();

    std::fs::write(&manifest, good.replace("schemaVersion\":2", "schemaVersion\":3")).unwrap();
    let result = world.fetch("1").await;
    world.expect_failure(result, FailureKind::ImageDigest, &["image manifest is not what its digest says"]);

    std::fs::remove_file(&manifest).unwrap();
    let result = world.fetch("1").await;
    world.expect_failure(result, FailureKind::Image, &["cannot read", "No such file"]);

    std::fs::write(world.layout().join("index.json"), "{").unwrap();
    let result = world.fetch("1").await;
    world.expect_failure(result, FailureKind::Image, &["cannot read the image index: EOF while parsing"]);
}

#[tokio::test]
async fn layers_that_are_no_archives_are_refused() {
    let world = World::new();
    for (tag, layer, words) in [
        ("text", b"this is no archive".repeat(100), "cannot unpack the layer sha256:"),
        ("cut", Tar::new().file("a", &noise()).bytes()[..9000].to_vec(), "cannot read the archive"),
    ] {
        world.image(tag, vec![layer]);
        let result = world.fetch(tag).await;
        world.expect_failure(result, FailureKind::Image, &[words]);
    }
}

#[tokio::test]
async fn what_the_disk_has_not_or_has_wrong_is_not_asked_for_again() {
    let world = World::new();
    world.image("1", vec![Tar::new().file("a", &noise()).bytes()]);
    let path = layer(&world.layout());
    std::fs::write(&path, &std::fs::read(&path).unwrap()[1..]).unwrap();
    for reference in [
        "oci:/nowhere/at/all:1".to_owned(),
        "oci-archive:/nowhere.tar".to_owned(),
        format!("oci:{}:2", world.layout().display()),
        format!("oci:{}:1", world.layout().display()),
    ] {
        assert_eq!(world.retry(&reference).await, Retry::Pointless, "{reference}");
    }
}

#[tokio::test]
async fn an_archives_headers_are_bounded() {
    let world = World::new();
    let long = tar::EntryType::GNULongName;
    let archive = Tar::new().entry("././@LongLink", long, 0o644, &vec![b'x'; 17 << 20]).file("x", b"");
    std::fs::write(world.path("long.tar"), archive.bytes()).unwrap();
    let result = world.ensure(&format!("oci-archive:{}", world.path("long.tar").display())).await;
    world.expect_failure(result, FailureKind::Image, &["the archive's headers exceed 16 MiB"]);
}

#[tokio::test]
async fn a_layer_that_stands_twice_is_mounted_once() {
    let world = World::new();
    let empty = Tar::new().bytes();
    world.image("1", vec![empty.clone(), Tar::new().file("a", b"1").bytes(), empty]);
    let image = world.fetch("1").await.unwrap();
    assert_eq!(image.layers.len(), 2);
    assert!(contents(&image.layers[0]).is_empty());
}
