//! What a task can rely on.

use berth_model::{ExitKind, Kill};
use berth_runtime::logs::LogStream;

use crate::world::{Case, World, container, main_task, program};

macro_rules! cases {
    ($($name:ident)*) => {
        /// Every case, with its name.
        pub const ALL: &[(&str, Case)] = &[$((stringify!($name), |world| Box::pin($name(world)))),*];
    };
}

cases! {
    exit_status_is_told
    signals_reach_the_main_process
    host_programs_run
}

async fn exit_status_is_told(world: &mut World) {
    let task = container(&world.image, &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    let (alloc, exit) = world.run(task).await;
    assert_eq!(exit, ExitKind::Status(7));
    assert_eq!(world.text(alloc, LogStream::Stdout).await, "out\n");
    assert_eq!(world.text(alloc, LogStream::Stderr).await, "err\n");
}

async fn signals_reach_the_main_process(world: &mut World) {
    let task =
        container(&world.image, &["sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"]);
    let alloc = world.start(task).await;
    world.says(alloc, "up").await;
    world.runtime.signal(alloc, &main_task(), 1, Kill::Ask(15)).await.unwrap();
    assert_eq!(world.exit(alloc).await.how, ExitKind::Status(3));
    assert_eq!(world.text(alloc, LogStream::Stdout).await, "up\nbye\n");
}

async fn host_programs_run(world: &mut World) {
    let said = world.output(program(&["sh", "-c", "id -un; pwd"])).await;
    assert_eq!(said, "nobody\n/berth\n");
}
