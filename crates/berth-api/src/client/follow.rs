//! Streams that a user reads: events as they happen, log lines as they are written.

use reqwest::Response;

use super::call::broken;
use super::{Client, ClientError, EventFilter};
use crate::wire::v1 as wire;

/// The longest event of a stream.
const EVENT_BYTES: usize = 1 << 20;

/// The ledger as it is written. A broken connection is made anew from the last event seen, so that none is missed as
/// long as the server keeps them.
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    filter: EventFilter,
    response: Response,
    buffer: Vec<u8>,
}

impl EventStream {
    pub(super) fn new(client: Client, filter: EventFilter, response: Response) -> Result<EventStream, ClientError> {
        Ok(EventStream { client, filter, response, buffer: Vec::new() })
    }

    /// The next event.
    pub async fn next(&mut self) -> Result<wire::Event, ClientError> {
        loop {
            while let Some(message) = take_message(&mut self.buffer) {
                if let Some(event) = self.understand(&message)? {
                    return Ok(event);
                }
            }
            if self.buffer.len() > EVENT_BYTES {
                return Err(ClientError::TooLong { operation: "follow events", limit: EVENT_BYTES });
            }
            match self.response.chunk().await {
                Ok(Some(piece)) => self.buffer.extend_from_slice(&piece),
                Ok(None) => self.reconnect().await?,
                Err(source) if source.is_decode() || source.is_body() || source.is_request() => {
                    self.reconnect().await?;
                }
                Err(source) => return Err(broken(source, "follow events", self.client.target().addr())),
            }
        }
    }

    fn understand(&mut self, message: &Message) -> Result<Option<wire::Event>, ClientError> {
        match message.event.as_str() {
            "error" => {
                let body: wire::ErrorBody = decode(&message.data)?;
                Err(ClientError::Refused { operation: "follow events", error: Box::new(body.error) })
            }
            "ledger" => {
                let event: wire::Event = decode(&message.data)?;
                self.filter.from = wire::EventsFrom::After(event.id.clone());
                Ok(Some(event))
            }
            // Where the stream begins: what a reconnection goes on from while nothing has happened yet.
            "begin" => {
                if let Ok(id) = message.data.parse() {
                    self.filter.from = wire::EventsFrom::After(id);
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    async fn reconnect(&mut self) -> Result<(), ClientError> {
        let client = self.client.clone();
        let next = Box::pin(client.follow_events(&self.filter)).await?;
        self.response = next.response;
        self.buffer.clear();
        Ok(())
    }
}

fn decode<T: serde::de::DeserializeOwned>(data: &str) -> Result<T, ClientError> {
    serde_json::from_str(data).map_err(|source| ClientError::Decode { operation: "follow events", source })
}

/// One message of a stream of server-sent events.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    event: String,
    data: String,
}

/// Takes the first whole message out of the buffer.
fn take_message(buffer: &mut Vec<u8>) -> Option<Message> {
    let end = buffer.windows(2).position(|pair| pair == b"\n\n")?;
    let bytes: Vec<u8> = buffer.drain(..end + 2).collect();
    let mut message = Message::default();
    for line in String::from_utf8_lossy(&bytes).lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => message.event = value.to_owned(),
            "data" if message.data.is_empty() => message.data = value.to_owned(),
            "data" => {
                message.data.push('\n');
                message.data.push_str(value);
            }
            // Comments keep the connection alive; ids repeat what the data says.
            _ => {}
        }
    }
    Some(message)
}

/// Log lines as the agent sends them.
#[derive(Debug)]
pub struct LogLines {
    response: Response,
    decoder: wire::LineDecoder,
    addr: String,
}

impl LogLines {
    pub(super) fn new(response: Response, addr: &str) -> LogLines {
        LogLines { response, decoder: wire::LineDecoder::new(wire::LOG_LINE_BYTES), addr: addr.to_owned() }
    }

    /// The next line. None: there are no more.
    pub async fn next(&mut self) -> Result<Option<wire::LogLine>, ClientError> {
        const OPERATION: &str = "read logs";
        let line = |source| ClientError::Line { operation: OPERATION, source };
        loop {
            match self.decoder.next_line().map_err(line)? {
                Some(wire::LogRecord::Line(line)) => return Ok(Some(line)),
                Some(wire::LogRecord::Error { error }) => {
                    return Err(ClientError::Refused { operation: OPERATION, error: Box::new(error) });
                }
                None => {}
            }
            match self.response.chunk().await.map_err(|source| broken(source, OPERATION, &self.addr))? {
                Some(piece) => self.decoder.push(&piece),
                None => return self.decoder.finish().map(|()| None).map_err(line),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_at_empty_lines() {
        let mut buffer = b": hello\n\nevent: ledger\nid: e1-1\ndata: {\"a\":1}\n\nevent: led".to_vec();
        assert_eq!(take_message(&mut buffer), Some(Message::default()));
        let message = take_message(&mut buffer).unwrap();
        assert_eq!(message, Message { event: "ledger".into(), data: "{\"a\":1}".into() });
        assert_eq!(take_message(&mut buffer), None);
        assert_eq!(buffer, b"event: led");
    }
}
