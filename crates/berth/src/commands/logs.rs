//! `berth logs`: what a task wrote.

use std::io::Write as _;

use anyhow::Context as _;
use berth_api::wire::v1::{LogLine, LogStream, LogStreams, LogsFrom, LogsRequest};

use super::{Context, target};
use crate::args::LogsArgs;
use crate::output::Format;

/// Shows the logs; standard error of the task goes to standard error here.
pub async fn logs(context: &Context, args: LogsArgs) -> anyhow::Result<()> {
    let alloc = target::one_alloc(context, &args.target).await?;
    let task = target::one_task(&alloc, args.task.as_deref())?;
    let streams = match (args.stdout, args.stderr) {
        (true, _) => LogStreams::Stdout,
        (_, true) => LogStreams::Stderr,
        (false, false) => LogStreams::Both,
    };
    let from = args.tail.map_or(LogsFrom::Oldest, |lines| LogsFrom::Last { lines });
    let request = LogsRequest { alloc: alloc.id, task: task.into(), streams, from, follow: args.follow };
    let mut lines = context.client.logs(&request).await?;
    while let Some(line) = lines.next().await? {
        show(context.format, &line, args.timestamps)?;
    }
    Ok(())
}

fn show(format: Format, line: &LogLine, timestamps: bool) -> anyhow::Result<()> {
    if format == Format::Json {
        return format.show_line(line, |_| String::new());
    }
    let mut bytes = match timestamps {
        true => format!("{} ", line.time).into_bytes(),
        false => Vec::new(),
    };
    bytes.extend(line.bytes());
    if !line.partial {
        bytes.push(b'\n');
    }
    let written = match line.stream {
        LogStream::Stdout => std::io::stdout().write_all(&bytes).and_then(|()| std::io::stdout().flush()),
        LogStream::Stderr => std::io::stderr().write_all(&bytes),
    };
    match written {
        // A reader that went away, as `head` does, is the end and no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.context("cannot write the log to standard output or error"),
    }
}
