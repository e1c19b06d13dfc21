//! Who a task runs as: a name or number, looked up in the task's own `/etc/passwd` and `/etc/group`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use berth_model::{Failure, FailureKind};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::error::{failure, io_failure};
use crate::plan::RootPlan;

/// Bytes read of a user database at most.
const LONGEST: u64 = 4 << 20;

/// A user as the kernel knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Who {
    pub uid: u32,
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// The home folder, where the database names one.
    pub home: Option<String>,
}

/// Finds `name`, `uid`, `name:group` or `uid:gid` inside a root; empty means root.
pub(super) fn find(root: &Path, plan: &RootPlan, user: &str) -> Result<Who, Failure> {
    let (files, place) = match plan {
        RootPlan::Layers { .. } => (root, "the image"),
        RootPlan::Host => (Path::new("/"), "the node"),
    };
    let read = |name: &str| {
        read_inside(files, name).map_err(|error| io_failure(format_args!("read /etc/{name} of {place}"), &error))
    };
    look_up(&read("passwd")?, &read("group")?, user).map_err(|unknown| {
        let Unknown(what, name) = unknown;
        let message = format!(
            "no {what} `{name}` in /etc/{file} of {place}; name one that is there, or give its number",
            file = if what == "user" { "passwd" } else { "group" }
        );
        failure(FailureKind::NoSuchUser, message)
    })
}

/// A file of `/etc`, or nothing where there is none. Links are followed inside the root only.
fn read_inside(root: &Path, name: &str) -> io::Result<String> {
    let dir = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = Path::new("etc").join(name);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match openat2(&dir, path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        opened => File::from(opened?),
    };
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A name that is not in its database: which database, and the name.
#[derive(Debug, PartialEq, Eq)]
struct Unknown(&'static str, String);

fn look_up(passwd: &str, group: &str, user: &str) -> Result<Who, Unknown> {
    let (name, wanted_group) = match user.split_once(':') {
        Some((name, wanted)) => (name, Some(wanted).filter(|g| !g.is_empty())),
        None => (user, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let number = name.parse::<u32>().ok();
    let entry = entries(passwd).find(|e| e.first() == Some(&name) || (number.is_some() && field(e, 2) == number));
    let mut who = match (&entry, number) {
        (Some(entry), _) => Who {
            uid: field(entry, 2).ok_or_else(|| Unknown("user", name.to_owned()))?,
            gid: field(entry, 3).ok_or_else(|| Unknown("user", name.to_owned()))?,
            groups: Vec::new(),
            home: entry.get(5).filter(|home| !home.is_empty()).map(|home| (*home).to_owned()),
        },
        (None, Some(uid)) => Who { uid, ..Who::default() },
        (None, None) => return Err(Unknown("user", name.to_owned())),
    };
    match wanted_group {
        Some(wanted) => who.gid = group_id(group, wanted)?,
        None => {
            if let Some(login) = entry.as_ref().and_then(|e| e.first()) {
                who.groups = memberships(group, login, who.gid);
            }
        }
    }
    Ok(who)
}

fn group_id(group: &str, wanted: &str) -> Result<u32, Unknown> {
    let by_name = entries(group).find(|e| e.first() == Some(&wanted)).and_then(|e| field(&e, 2));
    by_name.or_else(|| wanted.parse().ok()).ok_or_else(|| Unknown("group", wanted.to_owned()))
}

fn memberships(group: &str, login: &str, but: u32) -> Vec<u32> {
    entries(group)
        .filter(|e| e.get(3).is_some_and(|members| members.split(',').any(|m| m == login)))
        .filter_map(|e| field(&e, 2))
        .filter(|gid| *gid != but)
        .collect()
}

fn entries(database: &str) -> impl Iterator<Item = Vec<&str>> {
    database.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(':').collect())
}

fn field(entry: &[&str], at: usize) -> Option<u32> {
    entry.get(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:34:www:/var/www:/bin/false\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlog:x:50:root,www\n";

    fn who(user: &str) -> Result<Who, Unknown> {
        look_up(PASSWD, GROUP, user)
    }

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        let www = Who { uid: 33, gid: 34, groups: vec![50], home: Some("/var/www".to_owned()) };
        assert_eq!(who("www"), Ok(www.clone()));
        assert_eq!(who("33"), Ok(www));
        assert_eq!(who("").map(|w| (w.uid, w.gid)), Ok((0, 0)));
    }

    #[test]
    fn a_number_needs_no_entry_and_a_name_does() {
        assert_eq!(who("1234:99"), Ok(Who { uid: 1234, gid: 99, ..Who::default() }));
        assert_eq!(who("nobody"), Err(Unknown("user", "nobody".to_owned())));
        assert_eq!(who("www:nogroup"), Err(Unknown("group", "nogroup".to_owned())));
    }

    #[test]
    fn a_group_takes_the_place_of_all_groups() {
        assert_eq!(who("www:log").map(|w| (w.uid, w.gid, w.groups)), Ok((33, 50, vec![])));
    }
}
