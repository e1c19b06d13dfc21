//! Turns: requests begin a few at a time, and whatever else is to be done goes first.
//!
//! A connection can bring hundreds of requests at once, and each is answered in one go. Without turns, the loop of the
//! cluster and the streams of its agents would wait behind all of them, and nodes would count as lost because somebody
//! asked too much.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use berth_api::wire::v1::ErrorKind;
use tokio::sync::Semaphore;

use super::error::ApiError;

/// Requests that begin at once.
const AT_ONCE: usize = 4;
/// Requests that may wait for their turn; more are refused.
const WAITING: usize = 4_096;

/// The turns.
#[derive(Clone, Debug)]
pub struct Turns {
    begin: Arc<Semaphore>,
    wait: Arc<Semaphore>,
}

impl Turns {
    /// All of them free.
    pub fn new() -> Turns {
        Turns { begin: Arc::new(Semaphore::new(AT_ONCE)), wait: Arc::new(Semaphore::new(WAITING)) }
    }

    async fn take(&self) -> Result<(), ApiError> {
        let _place = self.wait.try_acquire().map_err(|_| {
            ApiError::new(ErrorKind::Overloaded, "too many requests wait for their turn").remedy("ask again later")
        })?;
        let _turn = self.begin.acquire().await.expect("nobody closes it");
        // To the end of the queue: what is due for the cluster is there before.
        tokio::task::yield_now().await;
        Ok(())
    }
}

/// Lets a request begin when it is its turn. How long it then takes is its own affair.
pub async fn take_turn(State(turns): State<Turns>, request: Request, next: Next) -> Response {
    match turns.take().await {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Many requests come at once, each with work to do; one task looks how many of them pass between its own turns.
    #[tokio::test]
    async fn a_crowd_of_requests_lets_others_through() {
        let (turns, begun) = (Turns::new(), Arc::new(AtomicUsize::new(0)));
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..1_000 {
            let (turns, begun) = (turns.clone(), begun.clone());
            crowd.spawn(async move {
                turns.take().await.unwrap();
                begun.fetch_add(1, Ordering::Relaxed);
            });
        }
        let (mut seen, mut most) = (0, 0);
        while seen < 1_000 {
            tokio::task::yield_now().await;
            let now = begun.load(Ordering::Relaxed);
            most = most.max(now - seen);
            seen = now;
        }
        assert!(most <= 4 * AT_ONCE, "{most} requests went before another task had its turn");
        while let Some(one) = crowd.join_next().await {
            one.unwrap();
        }
    }

    #[tokio::test]
    async fn a_crowd_beyond_bounds_is_refused() {
        let turns = Turns::new();
        let _taken = turns.begin.acquire_many(u32::try_from(AT_ONCE).unwrap()).await.unwrap();
        let mut crowd: Vec<_> = (0..WAITING).map(|_| Box::pin(turns.take())).collect();
        for one in &mut crowd {
            assert!(futures::poll!(one).is_pending());
        }
        let refused = turns.take().await.unwrap_err();
        assert_eq!(refused.0.message, "too many requests wait for their turn");
    }
}
