//! `berth logs`: what a task wrote.

use std::io::Write as _;
use std::time::Duration;

use berth_api::client::LogLines;
use berth_api::wire::v1::{AllocState, LogLine, LogStream, LogStreams, LogsFrom, LogsRequest};

use berth_model::AllocId;

use super::{Context, target};
use crate::args::LogsArgs;
use crate::output::Format;

/// How often to ask whether what is followed has ended.
const PACE: Duration = Duration::from_millis(500);

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
    let mut request = LogsRequest { alloc: alloc.id, task: task.into(), streams, from, follow: args.follow };
    let mut seen = None;
    let mut lines = context.client.logs(&request).await?;
    if args.follow {
        tokio::select! {
            ended = until_ended(context, request.alloc.0) => ended?,
            shown = show_all(context.format, &mut lines, args.timestamps, &mut seen) => return shown,
        }
        // What was written last may still be on its way, so what has not been seen is read to its end.
        request.follow = false;
        if seen.is_some() {
            request.from = LogsFrom::Oldest;
        }
        lines = context.client.logs(&request).await?;
    }
    show_all(context.format, &mut lines, args.timestamps, &mut seen).await
}

/// Waits until nothing can be written any more.
async fn until_ended(context: &Context, alloc: AllocId) -> anyhow::Result<()> {
    while !matches!(context.client.alloc(alloc).await?.state, AllocState::Ended { .. }) {
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}

/// Shows the lines behind the one `seen` last.
async fn show_all(
    format: Format,
    lines: &mut LogLines,
    timestamps: bool,
    seen: &mut Option<u64>,
) -> anyhow::Result<()> {
    while let Some(line) = lines.next().await? {
        if seen.is_none_or(|seen| line.sequence.0 > seen) {
            show(format, &line, timestamps)?;
            *seen = Some(line.sequence.0);
        }
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
        result => Ok(result?),
    }
}
