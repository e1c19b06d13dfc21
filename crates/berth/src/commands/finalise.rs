//! `berth finalise`: the release before is not gone back to.

use berth_api::client::new_key;
use berth_api::wire::v1::CommandOutcome;

use super::Context;

/// Has what is stored be written in the newest format that the leader knows.
pub async fn finalise(context: &Context) -> anyhow::Result<()> {
    let outcome = context.client.finalise(&new_key()).await?;
    let CommandOutcome::Finalised { format, changed } = outcome else {
        anyhow::bail!("the server answered `finalise` with something else: {outcome:?}");
    };
    context.format.show(&outcome, |_| match changed {
        true => format!("what is stored has format {format} from now on; older releases cannot read it any more\n"),
        false => format!("nothing to finalise: what is stored has format {format}, the newest that the leader knows\n"),
    })
}
