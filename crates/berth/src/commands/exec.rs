//! `berth exec`: a process beside a running task, through the server.

use std::io::{self, IsTerminal as _, Read as _};
use std::process::ExitCode;

use anyhow::Context as _;
use berth_api::client::{FrameReceiver, FrameSender, Session};
use berth_api::wire::v1::{ExecRequest, ExitKind, Frame, LogStream, TerminalSize};
use bytes::Bytes;
use rustix::termios::{self, OptionalActions, Termios};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::capture::Output;
use super::{Context, target};
use crate::args::{ExecArgs, Tty};
use crate::output::Format;

/// Input that is read at once.
const PIECE: usize = 16 << 10;

/// Runs the command and ends with its exit status: 128 and the signal's number when one ended it.
pub async fn exec(context: &Context, args: ExecArgs) -> anyhow::Result<ExitCode> {
    let alloc = target::one_alloc(context, &args.target).await?;
    let task = target::one_task(&alloc, args.task.as_deref())?;
    let terminal = match args.tty {
        Tty::Always => true,
        Tty::Never => false,
        Tty::Auto => context.format == Format::Text && io::stdin().is_terminal() && io::stdout().is_terminal(),
    };
    let request = ExecRequest {
        alloc: alloc.id,
        task: task.into(),
        command: args.command,
        terminal: terminal.then(size_of_terminal),
    };
    let Session { input, output } = context.client.exec(&request).await?;
    let raw = terminal.then(RawTerminal::enter).transpose()?;
    let sending = tokio::spawn(send_input(input, terminal));
    let mut shown = Output::new(context.format);
    let ended = show_output(output, &mut shown).await;
    sending.abort();
    drop(raw);
    let status = match ended? {
        ExitKind::Status { status } => status,
        ExitKind::Signal { signal } => 128 + signal,
        ExitKind::OutOfMemory => anyhow::bail!("the command was killed for the task's memory limit"),
        ExitKind::Failure { failure } => anyhow::bail!("{}", failure.message),
    };
    shown.end(status)?;
    Ok(ExitCode::from(status))
}

/// Sends what is typed, and the terminal's size when it changes.
async fn send_input(writer: FrameSender, terminal: bool) -> anyhow::Result<()> {
    let mut resized = signal(SignalKind::window_change()).context("cannot listen for SIGWINCH")?;
    let mut typed = read_input();
    loop {
        tokio::select! {
            Some(piece) = typed.recv() => {
                let piece = piece.context("cannot read standard input")?;
                let is_end = piece.is_empty();
                writer.send(&Frame::Stdin(piece)).await?;
                if is_end {
                    break;
                }
            }
            Some(()) = resized.recv(), if terminal => writer.send(&Frame::Resize(size_of_terminal())).await?,
        }
    }
    // The writer stays open: closing it would tell that the user has gone.
    std::future::pending::<()>().await;
    Ok(())
}

/// Standard input in pieces; an empty one is its end. It is read by a thread that nobody waits for: the async runtime
/// would wait for its own, and with it the user for a key to be pressed after the command has ended.
fn read_input() -> mpsc::Receiver<io::Result<Bytes>> {
    let (send, receive) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut piece = vec![0; PIECE];
            let piece = match stdin.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map(|count| Bytes::copy_from_slice(&piece[..count])),
            };
            let goes_on = piece.as_ref().is_ok_and(|piece| !piece.is_empty());
            if send.blocking_send(piece).is_err() || !goes_on {
                return;
            }
        }
    });
    receive
}

async fn show_output(mut reader: FrameReceiver, shown: &mut Output) -> anyhow::Result<ExitKind> {
    while let Some(frame) = reader.next().await? {
        match frame {
            Frame::Stdout(bytes) => shown.write(LogStream::Stdout, &bytes).await?,
            Frame::Stderr(bytes) => shown.write(LogStream::Stderr, &bytes).await?,
            Frame::Exit(how) => return Ok(how),
            Frame::Error(error) => anyhow::bail!("{error}"),
            Frame::Open(_) | Frame::Stdin(_) | Frame::Resize(_) => anyhow::bail!("the server sent an unexpected frame"),
        }
    }
    anyhow::bail!("the connection ended before the command did; whether it goes on is not known")
}

fn size_of_terminal() -> TerminalSize {
    match termios::tcgetwinsize(io::stdout()) {
        Ok(size) => TerminalSize { rows: size.ws_row, columns: size.ws_col },
        Err(_) => TerminalSize { rows: 24, columns: 80 },
    }
}

/// The terminal without line editing and echo, which the other side does; as before when dropped.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> anyhow::Result<RawTerminal> {
        let before = termios::tcgetattr(io::stdin()).context("cannot read the terminal's mode")?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw).context("cannot set the terminal's mode")?;
        Ok(RawTerminal(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Nothing better can be done than to leave the terminal as it is.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
