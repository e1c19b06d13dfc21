//! `berth events`: what happened, and what led to it.

use berth_api::client::EventFilter;
use berth_api::wire::v1::{Event, EventsFrom};

use super::Context;
use super::target::{self, Target};
use crate::exit::{Status, failed};

/// Shows the ledger, and with `follow` goes on with what happens.
pub async fn events(context: &Context, follow: bool, of: Option<&str>) -> anyhow::Result<()> {
    let mut filter = match of.map(|text| target::read(text, &context.namespace)).transpose()? {
        None => EventFilter::default(),
        Some(Target::Alloc(alloc)) => EventFilter { alloc: Some(alloc), ..EventFilter::default() },
        Some(Target::Name(job)) => EventFilter { job: Some(job), ..EventFilter::default() },
        Some(Target::Node(node)) => {
            return Err(failed(
                Status::Usage,
                format!("{node} is a node: --of takes a job's name or an allocation's id"),
            ));
        }
    };
    loop {
        let page = context.client.events(&filter).await?;
        for event in &page.items {
            show(context, event)?;
        }
        if let Some(last) = page.items.last() {
            filter.from = EventsFrom::After(last.id.clone());
        }
        if page.next.is_none() {
            break;
        }
    }
    if follow {
        let mut stream = context.client.follow_events(&filter).await?;
        loop {
            show(context, &stream.next().await?)?;
        }
    }
    Ok(())
}

fn show(context: &Context, event: &Event) -> anyhow::Result<()> {
    context.format.show_line(event, |event| line(event) + "\n")
}

/// One entry in one line.
pub fn line(event: &Event) -> String {
    format!("{}  {:<8} {}  [{}]", event.at, event.id.to_string(), event.what, event.cause)
}

/// Entries, a line each.
pub fn lines(events: &[Event]) -> String {
    events.iter().map(|event| format!("  {}\n", line(event))).collect()
}
