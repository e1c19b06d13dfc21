//! A lab of a test's own.

use std::process::Command;

use serde_json::Value;

use super::{BERTH, text};

/// A lab of its own name and folder; taken down when dropped.
pub struct Lab {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub dir: tempfile::TempDir,
    /// Where its API is.
    pub addr: String,
    /// The certificates by which it is believed.
    pub ca: String,
    /// What opens it.
    pub token: String,
}

impl Lab {
    /// A lab with one server and so many agents.
    pub fn up(agents: &str) -> Lab {
        Lab::up_with(agents, &[])
    }

    /// The same, with further flags.
    pub fn up_with(agents: &str, flags: &[&str]) -> Lab {
        // Not below /tmp: every node has a /tmp of its own.
        let dir = tempfile::Builder::new().prefix("berth-lab-test.").tempdir_in("/var/tmp").unwrap();
        let name = format!("t{}", std::process::id() % 1_000_000);
        let mut lab = Lab { name, dir, addr: String::new(), ca: String::new(), token: String::new() };
        let up = [&["lab", "up", "--agents", agents, "--name", &lab.name, "--json"], flags].concat();
        let shown: Value = serde_json::from_str(&lab.ok(&up)).unwrap();
        lab.addr = shown["addr"].as_str().unwrap().to_owned();
        lab.ca = shown["ca_file"].as_str().unwrap().to_owned();
        lab.token = std::fs::read_to_string(shown["token_file"].as_str().unwrap()).unwrap().trim().to_owned();
        lab
    }

    /// A `berth` command against this lab.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BERTH);
        command.args(args).env("BERTH_LAB_DIR", self.dir.path());
        command.env("BERTH_ADDR", &self.addr).env("BERTH_CA", &self.ca).env("BERTH_TOKEN", &self.token);
        command
    }

    /// Runs a command that must succeed, and gives its output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert!(output.status.success(), "berth {args:?} failed: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The allocations of a job, all of them.
    pub fn allocs(&self, job: &str) -> Vec<Value> {
        let status: Value = serde_json::from_str(&self.ok(&["status", job, "--json"])).unwrap();
        status["allocs"].as_array().unwrap().clone()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let down = self.command(&["lab", "down", "--name", &self.name]).output();
        if std::thread::panicking() {
            eprintln!("lab down: {down:?}");
        }
    }
}
