//! Answers that are lost on the way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use berth_api::client::{AllocFilter, Client, EventFilter, Target, new_key};
use berth_api::wire::v1 as wire;
use berth_server::StoreKind;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::cluster::{Cluster, web};

/// Passes connections on to the server, and cuts the first ones when the server has answered.
struct Lossy {
    addr: SocketAddr,
    cut: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl Lossy {
    async fn before(server: SocketAddr, losses: u32) -> Lossy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let cut = Arc::new(AtomicU32::new(0));
        let counted = cut.clone();
        let task = tokio::spawn(async move {
            let mut passing = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(server).await.unwrap();
                if counted.load(Ordering::SeqCst) < losses {
                    swallow_answer(client, server).await;
                    counted.fetch_add(1, Ordering::SeqCst);
                } else {
                    passing.spawn(pass(client, server));
                }
            }
        });
        Lossy { addr, cut, task }
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream) {
    // Whoever ends it, and however, is of no interest here.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

/// Gives the server the request, and the client nothing.
async fn swallow_answer(mut client: TcpStream, server: TcpStream) {
    let (mut answers, mut requests) = server.into_split();
    let mut answer = [0; 1];
    tokio::select! {
        copied = tokio::io::copy(&mut client, &mut requests) => panic!("the client has gone: {copied:?}"),
        read = answers.read_exact(&mut answer) => drop(read.unwrap()),
    }
}

#[tokio::test]
async fn a_command_whose_answer_was_lost_is_repeated_and_done_once() {
    let cluster = Cluster::start(StoreKind::Memory).await;
    let lossy = Lossy::before(cluster.ready.addr, 2).await;
    let client = Client::new(Target::new(&format!("http://{}", lossy.addr), &cluster.ready.token).unwrap()).unwrap();
    let outcome = client.run_job(&web(2), &new_key()).await.unwrap();
    assert_eq!(lossy.cut.load(Ordering::SeqCst), 2, "the answer came on the third connection");
    assert!(matches!(outcome, wire::CommandOutcome::JobVersion { changed: true, .. }), "{outcome:?}");

    let accepted = cluster.client.events(&EventFilter::default()).await.unwrap().items;
    let versions = accepted.iter().filter(|event| matches!(event.what, wire::Happening::JobVersion { .. }));
    assert_eq!(versions.count(), 1);
    assert_eq!(cluster.client.job(&web(2).id).await.unwrap().summary.version, wire::Number(1));
    assert!(cluster.client.allocs(&AllocFilter::default()).await.unwrap().len() <= 2);
    lossy.task.abort();
    cluster.stop().await;
}
