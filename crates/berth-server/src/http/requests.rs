//! The requests of one connection that are under way, and the wait for a connection to be without any for too long.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::watch;

/// Counts the requests of a connection.
#[derive(Clone, Debug)]
pub struct Requests(watch::Sender<u32>);

impl Requests {
    /// None yet.
    pub fn new() -> Requests {
        Requests(watch::Sender::new(0))
    }

    /// One more is under way, until the guard is dropped.
    pub fn begin(&self) -> UnderWay {
        self.0.send_modify(|count| *count += 1);
        UnderWay(self.0.clone())
    }

    /// Ends when no request has been under way for `first` from now on, or for `then` after the last one ended.
    pub async fn quiet(&self, first: Duration, then: Duration) {
        let mut count = self.0.subscribe();
        let mut limit = first;
        while count.wait_for(|count| *count == 0).await.is_ok() {
            match tokio::time::timeout(limit, count.changed()).await {
                Ok(_) => limit = then,
                Err(_) => return,
            }
        }
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct UnderWay(watch::Sender<u32>);

impl UnderWay {
    /// Lasts as long as an answer that goes on; one whose length is known is made already. Else a client that reads
    /// nothing would keep its connection for ever, without so much as a token.
    pub fn with(self, body: Body) -> Body {
        if body.size_hint().exact().is_some() { body } else { Body::new(Answer { body, _request: self }) }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

struct Answer {
    body: Body,
    _request: UnderWay,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
