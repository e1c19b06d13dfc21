//! The messages of version 1, word for word: a shim of today must understand an agent of tomorrow.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::protocol::{
    Ask, ExitWire, FailureWire, KillWire, KindWire, Message, Request, Say, StateWire, TaskWire, decode, encode,
};
use super::state::State;

/// One message a line.
const GOLDEN: &str = include_str!("golden-1.jsonl");

fn requests() -> Vec<Request> {
    let asks = [
        Ask::Hello,
        Ask::Start { task: "web".to_owned(), run: 3 },
        Ask::Signal { task: "web".to_owned(), run: 3, kill: KillWire::Ask(15) },
        Ask::Signal { task: "web".to_owned(), run: 3, kill: KillWire::Force },
        Ask::Exec {
            task: "web".to_owned(),
            command: vec!["sh".to_owned()],
            env: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
            terminal: Some((80, 24)),
        },
        Ask::Shutdown,
    ];
    asks.into_iter().zip(1..).map(|(ask, id)| Request { version: 1, id, ask }).collect()
}

fn messages() -> Vec<Message> {
    let exits = [
        ExitWire::Status(0),
        ExitWire::Signal(9),
        ExitWire::OutOfMemory,
        ExitWire::Failure(FailureWire { kind: KindWire::NoSuchUser, message: "no".to_owned() }),
    ];
    let mut states = vec![StateWire::Starting, StateWire::Running { pid: 7, started: 1_700_000_000_123 }];
    states.extend(exits.into_iter().map(|how| StateWire::Exited { at: 1_700_000_000_456, how }));
    let mut says: Vec<Say> = states
        .into_iter()
        .map(|state| Say::Task { task: "web".to_owned(), state: TaskWire { run: 3, state } })
        .collect();
    let tasks = BTreeMap::from([("web".to_owned(), TaskWire { run: 3, state: StateWire::Starting })]);
    says.push(Say::Welcome { id: 1, pid: 42, tasks });
    says.push(Say::Done { id: 2 });
    says.push(Say::Attached { id: 3, pid: 43 });
    says.push(Say::ExecEnded { exit: ExitWire::Status(1) });
    says.push(Say::Refused { id: 4, failure: FailureWire { kind: KindWire::Runtime, message: "no".to_owned() } });
    says.into_iter().map(|say| Message { version: 1, say }).collect()
}

fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(lines: &mut std::str::Lines<'_>, values: Vec<T>) {
    for value in values {
        let line = lines.next().unwrap();
        assert_eq!(serde_json::from_str::<T>(line).unwrap(), value);
        assert_eq!(serde_json::to_string(&value).unwrap(), line, "the protocol has changed: it needs a new version");
    }
}

#[test]
fn version_1_stays_readable() {
    let tasks = BTreeMap::from([("web".to_owned(), TaskWire { run: 3, state: StateWire::Starting })]);
    let state = State::new(42, tasks);
    if std::env::var_os("BERTH_BLESS").is_some() {
        let mut lines: Vec<String> = requests().iter().map(|r| serde_json::to_string(r).unwrap()).collect();
        lines.extend(messages().iter().map(|m| serde_json::to_string(m).unwrap()));
        lines.push(serde_json::to_string(&state).unwrap());
        std::fs::write("src/shim/golden-1.jsonl", lines.join("\n") + "\n").unwrap();
    }
    let mut lines = GOLDEN.lines();
    same(&mut lines, requests());
    same(&mut lines, messages());
    same(&mut lines, vec![state]);
    assert_eq!(lines.next(), None);
}

#[test]
fn messages_come_whole_or_not_at_all() {
    let bytes = encode(&requests()[1]).unwrap();
    for length in 0..bytes.len() {
        assert_eq!(decode::<Request>(&mut bytes[..length].to_vec()).unwrap(), None);
    }
    let mut two = [bytes.as_slice(), &bytes].concat();
    assert_eq!(decode::<Request>(&mut two).unwrap(), Some(requests().swap_remove(1)));
    assert_eq!(two, bytes);
    let mut huge = u32::MAX.to_le_bytes().to_vec();
    assert!(decode::<Request>(&mut huge).is_err());
}
