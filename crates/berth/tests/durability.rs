//! Whatever was acknowledged is there, once, however often the server is killed.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Instant;

use berth_api::client::{Client, Target};
use support::Cluster;
use support::writers::Writers;

/// Servers that are killed side by side, and how often each is.
const SERVERS: u64 = 4;
const KILLS_PER_SERVER: u64 = 50;
/// Who writes to one server at once.
const WRITERS: u64 = 3;
/// At most so many acknowledged commands lie between two kills.
const COMMANDS: u64 = 8;

/// SplitMix64: the kills' moments are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

async fn kill_and_check(seed: u64) {
    let mut random = Random(seed);
    let mut cluster = Cluster::server_only();
    let token = std::fs::read_to_string(cluster.path("server/token")).unwrap();
    let client = Client::new(Target::new(&cluster.addr, token.trim()).unwrap()).unwrap();
    let mut writers = Writers::start(&client, WRITERS);
    for _ in 0..KILLS_PER_SERVER {
        for _ in 0..=random.below(COMMANDS) {
            writers.acknowledged().await;
        }
        cluster.kill_server();
        cluster.start_server();
    }
    writers.check().await;
}

#[test]
fn two_hundred_kills_lose_nothing_and_do_nothing_twice() {
    let began = Instant::now();
    let servers: Vec<_> = (0..SERVERS)
        .map(|seed| std::thread::spawn(move || tokio::runtime::Runtime::new().unwrap().block_on(kill_and_check(seed))))
        .collect();
    let failed: Vec<_> = servers.into_iter().filter_map(|server| server.join().err()).collect();
    assert!(failed.is_empty(), "{} of {SERVERS} servers failed; see above", failed.len());
    eprintln!("{} kills in {:?}", SERVERS * KILLS_PER_SERVER, began.elapsed());
}
