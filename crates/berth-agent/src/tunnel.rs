//! Tunnels: logs and terminals, each on a connection of its own, so that they never delay a heartbeat.

use berth_api::client::{ClientError, FrameReceiver, FrameSender, LogNews, LogSender, Target, Tunnel};
use berth_api::wire::v1::{
    ErrorInfo, ErrorKind, ExecRequest, Frame, LogLine, LogRecord, LogStream, LogStreams, LogsFrom, LogsRequest, Number,
    TerminalSize, Time, TunnelId, TunnelKind,
};
use berth_model::Timestamp;
use berth_runtime::{ExecOutput, ExecSession, Runtime, RuntimeError, WindowSize, logs};
use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

/// Output that is read and sent at once.
const PIECE: usize = 16 << 10;
/// Pieces of output that wait for a slow user; then the command waits.
const PIECES: usize = 16;

/// Serves one tunnel to its end.
pub async fn serve(target: Target, runtime: Runtime, id: TunnelId, wanted: TunnelKind) {
    let tunnel = match Tunnel::open(&target, &id).await {
        Ok(tunnel) => tunnel,
        Err(error) => {
            tracing::warn!(tunnel = %id, reason = crate::link::chain(&error), "could not open the tunnel");
            return;
        }
    };
    let served = match wanted {
        TunnelKind::Logs(request) => logs_of(&runtime, tunnel.into_logs(), request).await,
        TunnelKind::Exec(request) => {
            let (output, input) = tunnel.into_frames();
            exec(&runtime, output, input, request).await
        }
    };
    if let Err(error) = served {
        tracing::debug!(tunnel = %id, reason = crate::link::chain(&error), "the tunnel ended early");
    }
}

async fn logs_of(runtime: &Runtime, mut out: LogSender, request: LogsRequest) -> Result<(), ClientError> {
    let mut query = logs::LogQuery {
        stream: match request.streams {
            LogStreams::Both => None,
            LogStreams::Stdout => Some(logs::LogStream::Stdout),
            LogStreams::Stderr => Some(logs::LogStream::Stderr),
        },
        from: match request.from {
            LogsFrom::Oldest => logs::LogFrom::Oldest,
            LogsFrom::Last { lines } => logs::LogFrom::Last(lines as usize),
        },
        follow: request.follow,
    };
    let (alloc, task) = (request.alloc.into(), request.task.into());
    let mut records = runtime.read_logs(alloc, &task, query.clone());
    loop {
        let next = tokio::select! {
            next = records.recv() => next,
            news = out.news(), if query.follow => match news {
                LogNews::ReaderGone => return Ok(()),
                // What was not sent yet is read anew, to its end.
                LogNews::Over => {
                    query.follow = false;
                    records = runtime.read_logs(alloc, &task, query.clone());
                    continue;
                }
            },
        };
        match next {
            None => break,
            Some(Ok(record)) => {
                query.from = logs::LogFrom::Sequence(record.sequence + 1);
                out.send(&LogRecord::Line(line(record))).await?;
            }
            Some(Err(error)) => {
                let error = ErrorInfo::new(ErrorKind::Internal, format!("cannot read the logs on the node: {error}"));
                out.send(&LogRecord::Error { error }).await?;
                break;
            }
        }
    }
    out.finish().await;
    Ok(())
}

fn line(record: logs::LogRecord) -> LogLine {
    let stream = match record.stream {
        logs::LogStream::Stdout => LogStream::Stdout,
        logs::LogStream::Stderr => LogStream::Stderr,
    };
    let time = Time(Timestamp(record.time_ns / 1_000_000));
    let mut line = LogLine::new(time, stream, Number(record.sequence), &record.line);
    line.partial = record.partial;
    line
}

async fn exec(
    runtime: &Runtime,
    output: FrameSender,
    input: FrameReceiver,
    request: ExecRequest,
) -> Result<(), ClientError> {
    let wanted = berth_runtime::ExecRequest {
        command: request.command,
        env: Default::default(),
        terminal: request.terminal.map(window),
    };
    let mut input = input;
    let last = match runtime.exec(request.alloc.into(), &request.task.into(), wanted).await {
        Ok(session) => attach(session, &output, &mut input).await?,
        Err(error) => {
            let kind = match error {
                RuntimeError::Refused { .. } => ErrorKind::Invalid,
                _ => ErrorKind::Unavailable,
            };
            Some(Frame::Error(ErrorInfo::new(kind, crate::link::chain(&error))))
        }
    };
    if let Some(last) = last {
        output.send(&last).await?;
    }
    output.finish(input).await;
    Ok(())
}

fn window(size: TerminalSize) -> WindowSize {
    WindowSize { columns: size.columns, rows: size.rows }
}

/// Joins a command and its user until one of them ends: gives the last frame, or none when the user has
/// gone. Dropping the session ends the command.
async fn attach(
    session: ExecSession,
    user: &FrameSender,
    typed: &mut FrameReceiver,
) -> Result<Option<Frame>, ClientError> {
    let ExecSession { input, output, mut control } = session;
    let mut input = Some(input);
    // Typed and not yet taken by the command. Nothing more is read from the user meanwhile.
    let mut pending = Bytes::new();
    let mut pieces = read_output(output);
    loop {
        // In no order: what is typed has to reach a command that never stops writing, if only to end it.
        tokio::select! {
            piece = pieces.recv() => match piece {
                Some(frame) => user.send(&frame).await?,
                // All that it wrote has been sent: its exit may follow.
                None => break,
            },
            written = write_some(&mut input, &pending), if !pending.is_empty() => match written {
                Some(count) => pending.advance(count),
                None => {
                    // It does not read any more; its exit says the rest.
                    input = None;
                    pending.clear();
                }
            },
            frame = typed.next(), if pending.is_empty() => match frame? {
                Some(Frame::Stdin(bytes)) if bytes.is_empty() => input = None,
                Some(Frame::Stdin(bytes)) if input.is_some() => pending = bytes,
                Some(Frame::Stdin(_)) => {}
                Some(Frame::Resize(size)) => {
                    if let Err(error) = control.resize(window(size)) {
                        tracing::debug!(%error, "cannot resize the terminal");
                    }
                }
                Some(Frame::Open(_) | Frame::Stdout(_) | Frame::Stderr(_) | Frame::Exit(_) | Frame::Error(_)) => {
                    let error = ErrorInfo::new(ErrorKind::BadRequest, "a user sends only input and sizes");
                    return Ok(Some(Frame::Error(error)));
                }
                None => return Ok(None),
            },
        }
    }
    loop {
        tokio::select! {
            how = control.exit() => return Ok(Some(match how {
                Ok(how) => Frame::Exit(how.into()),
                Err(error) => Frame::Error(ErrorInfo::new(ErrorKind::Internal, crate::link::chain(&error))),
            })),
            // What is typed now reaches nobody; that the user leaves does.
            frame = typed.next() => if frame?.is_none() {
                return Ok(None);
            },
        }
    }
}

/// Writes what the command takes now. None: it takes nothing any more.
async fn write_some(input: &mut Option<tokio::net::unix::pipe::Sender>, bytes: &[u8]) -> Option<usize> {
    input.as_mut()?.write(bytes).await.ok()
}

/// Output as frames; the channel ends when the command has closed all of it.
fn read_output(output: ExecOutput) -> mpsc::Receiver<Frame> {
    let (send, receive) = mpsc::channel(PIECES);
    match output {
        ExecOutput::Pipes { stdout, stderr } => {
            tokio::spawn(forward(stdout, Frame::Stdout, send.clone()));
            tokio::spawn(forward(stderr, Frame::Stderr, send));
        }
        ExecOutput::Terminal(terminal) => {
            tokio::spawn(forward(terminal, Frame::Stdout, send));
        }
    }
    receive
}

async fn forward<R>(mut from: R, frame: fn(Bytes) -> Frame, to: mpsc::Sender<Frame>)
where
    R: AsyncRead + Unpin,
{
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                if to.send(frame(Bytes::copy_from_slice(&piece[..count]))).await.is_err() {
                    return;
                }
            }
        }
    }
}
