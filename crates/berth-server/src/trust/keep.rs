//! Keeping the keys up to date: with what is stored, and with time.

use std::sync::Arc;
use std::time::Duration;

use berth_model::{
    Command, CommandRequest, IdempotencyKey, Millis, Namespace, NewAuthority, Principal, Trust, TrustCommand,
};
use berth_secrets::Authority;

use super::{Signer, TrustError, authorities};
use crate::driver::{Inputs, Role, Shared};
use crate::folder::random_text;

/// How often certificates are looked at, and a failure is tried again.
const LOOK: Duration = Duration::from_secs(30);
/// An authority is replaced when it has less than this left.
const REPLACED_BEFORE: Millis = Millis(180 * 24 * 3600 * 1000);

/// Keeps them up to date for as long as the server runs.
pub async fn keep(signer: Arc<Signer>, shared: Arc<Shared>, inputs: Inputs) {
    let (mut trust, mut role) = (shared.follow_trust(), shared.role());
    let mut told = String::new();
    loop {
        trust.borrow_and_update();
        let leads = *role.borrow_and_update() == Role::Leads;
        match look(&signer, &shared, &inputs, leads).await {
            Ok(()) => told.clear(),
            // Somebody else makes one.
            Err(TrustError::NoAuthority) if !leads => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                // What goes on for long is told of once.
                let reason = format!("{error} {:?}", error.source().map(ToString::to_string));
                if reason != told {
                    tracing::error!(error, "this server cannot show or sign certificates");
                    told = reason;
                }
            }
        }
        tokio::select! {
            changed = trust.changed() => if changed.is_err() { return },
            changed = role.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn look(signer: &Arc<Signer>, shared: &Shared, inputs: &Inputs, leads: bool) -> Result<(), TrustError> {
    let mut stored: Vec<Arc<Trust>> = shared.view().trust.values().cloned().collect();
    stored.retain(|trust| matches!(**trust, Trust::Authority(_)));
    stored.sort_by_key(|trust| std::cmp::Reverse(authorities(std::slice::from_ref(trust)).map(|of| of.number).next()));
    let Some(signs) = authorities(&stored).next() else {
        if !leads {
            return Err(TrustError::NoAuthority);
        }
        let first = in_background(signer, |signer| {
            Ok(Authority::make(&signer.sealing.read_or_make()?, None, signer.clock.wall())?)
        });
        return add(inputs, first.await?).await;
    };
    let now = signer.clock.wall();
    if leads && signs.not_after.since(now) < REPLACED_BEFORE {
        tracing::warn!(authority = %signs.id, "the certificate authority ends soon or has ended: it is replaced");
        let signs = signs.clone();
        let next = in_background(signer, move |signer| {
            let seal = signer.sealing.read()?;
            Ok(Authority::make(&seal, Some(&Authority::open(&signs, &seal)?), now)?)
        });
        return add(inputs, next.await?).await;
    }
    let is_current = signer.held().is_ok_and(|held| {
        let same = authorities(&stored).map(|of| of.id).eq(held.ids.iter().copied());
        // A certificate that was made by a wrong clock is of no use once the clock is right.
        same && held.own.is_good(now) && !held.own.is_due(now)
    });
    if is_current { Ok(()) } else { in_background(signer, move |signer| signer.hold(&stored)).await }
}

/// Where waiting for a file or a program keeps nobody up.
async fn in_background<T: Send + 'static>(
    signer: &Arc<Signer>,
    work: impl FnOnce(&Signer) -> Result<T, TrustError> + Send + 'static,
) -> Result<T, TrustError> {
    let signer = signer.clone();
    tokio::task::spawn_blocking(move || work(&signer)).await.expect("nothing panics while it opens keys")
}

async fn add(inputs: &Inputs, authority: NewAuthority) -> Result<(), TrustError> {
    let command = CommandRequest {
        principal: Principal("server".to_owned()),
        namespace: Namespace::default(),
        key: IdempotencyKey(random_text::<16>()),
        plan: None,
        command: Command::Trust(TrustCommand::AddAuthority(Box::new(authority))),
    };
    inputs.command(command).await.map(drop).map_err(TrustError::Refused)
}
