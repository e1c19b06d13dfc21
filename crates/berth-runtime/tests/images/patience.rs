//! Registries that say nothing, or next to nothing, and those who want something else meanwhile.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use berth_model::{Bytes, FailureKind};
use berth_runtime::images::{Patience, StoreConfig};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::registry::{Layers, Proxy, Registry, read_head, trickle};
use crate::support::{Tar, World, noise};

fn world(patience: Patience) -> World {
    World::with(StoreConfig { patience, ..StoreConfig::default() })
}

#[tokio::test]
async fn a_registry_that_says_nothing_is_given_up() {
    let world = world(Patience { silence: Duration::from_millis(100), ..Patience::default() });
    // Connections wait in its queue, and nobody ever takes them.
    let mute = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let result = world.ensure(&format!("{}/app:1", mute.local_addr().unwrap())).await;
    world.expect_failure(result, FailureKind::Image, &["cannot reach the registry 127.0.0.1", "timed out"]);
}

#[tokio::test]
async fn a_document_has_to_come_whole_in_time() {
    let world = world(Patience { document: Duration::from_millis(300), ..Patience::default() });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, head).await.unwrap();
        trickle(&mut stream, b" ").await;
    });
    let result = world.ensure(&format!("{at}/app:1")).await;
    world.expect_failure(result, FailureKind::Image, &["cannot reach the registry 127.0.0.1", "timed out"]);
}

#[tokio::test]
async fn a_layer_that_trickles_is_given_up() {
    let window = Duration::from_secs(3);
    let world = world(Patience { window, least: Bytes(64 << 10), ..Patience::default() });
    let registry = Registry::start(world.folder.path(), "");
    world.image("1", vec![Tar::new().file("a", &noise()).bytes()]);
    registry.push(&world, "1", "app:1", &[]);
    let proxy = Proxy::start(registry.at.port(), Layers::Trickle).await;
    let result = world.ensure(&format!("127.0.0.1:{}/app:1", proxy.port)).await;
    world.expect_failure(result, FailureKind::Image, &["sent less than 64KiB of the layer sha256:", " in 3s"]);
    world.ensure(&registry.image("app:1")).await.unwrap();
}

#[tokio::test]
async fn what_one_registry_withholds_another_gives() {
    let world = World::with(StoreConfig { parallel: 1, ..StoreConfig::default() });
    let registry = Registry::start(world.folder.path(), "");
    world.image("1", vec![Tar::new().file("a", &noise()).bytes()]);
    registry.push(&world, "1", "app:1", &[]);
    let proxy = Proxy::start(registry.at.port(), Layers::Hold(Arc::new(Semaphore::new(0)))).await;
    let held = format!("127.0.0.1:{}/app:1", proxy.port);
    let many = (0..20).map(|_| world.ensure(&held));
    let mut waiting = std::pin::pin!(futures::future::join_all(many));
    while !world.unpacks() {
        assert!(futures::poll!(&mut waiting).is_pending(), "the layer is held");
        tokio::task::yield_now().await;
    }
    let good = registry.image("app:1");
    let mut good = std::pin::pin!(world.ensure(&good));
    let image = tokio::select! {
        _ = &mut waiting => panic!("the layer is held"),
        image = &mut good => image.unwrap(),
    };
    assert!(image.layers[0].is_dir());
}
