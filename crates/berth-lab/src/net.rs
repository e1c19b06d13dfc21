//! Links and addresses of a lab: a bridge on the host, a pair of links per node.
//!
//! Nodes have a route to their own subnet and no other, so labs cannot reach each other even on a host that forwards.
//! No packet filter is touched.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use futures::TryStreamExt;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use crate::LabError;

/// Length of a lab's prefix: 10.x.y.0/24.
pub(crate) const PREFIX: u8 = 24;
/// Name of the link inside every node.
const NODE_LINK: &str = "eth0";
/// Routes wider than this (a VPN's 10.0.0.0/8) do not count as a clash: the lab's own route is more precise.
const WIDEST_CLASH: u8 = 16;

/// Whether a link is up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    Up,
    Down,
}

/// Runs netlink work to its end. On a thread of its own, because the caller may itself be inside an async runtime.
fn run<T, F, Fut>(work: F) -> Result<T, LabError>
where
    T: Send,
    F: FnOnce(Handle) -> Fut + Send,
    Fut: Future<Output = Result<T, LabError>>,
{
    let on_thread = || {
        let socket = |error: io::Error| LabError::io("open", Path::new("a netlink socket"))(error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(socket)?;
        runtime.block_on(async {
            let (connection, handle, _messages) = rtnetlink::new_connection().map_err(socket)?;
            let connection = tokio::spawn(connection);
            let result = work(handle).await;
            connection.abort();
            result
        })
    };
    std::thread::scope(|scope| scope.spawn(on_thread).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

fn netlink(operation: &'static str, object: &str) -> impl FnOnce(rtnetlink::Error) -> LabError {
    let object = object.to_owned();
    move |source| LabError::Netlink { operation, object, source }
}

/// Index of a link, if there is one of this name.
async fn find(handle: &Handle, name: &str) -> Result<Option<u32>, LabError> {
    match handle.link().get().match_name(name.to_owned()).execute().try_next().await {
        Ok(link) => Ok(link.map(|link| link.header.index)),
        Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code() == -nix::libc::ENODEV => Ok(None),
        Err(error) => Err(netlink("look up link", name)(error)),
    }
}

async fn index(handle: &Handle, name: &str) -> Result<u32, LabError> {
    find(handle, name).await?.ok_or_else(|| LabError::NoSuchLink(name.to_owned()))
}

async fn add_address(handle: &Handle, link: u32, address: Ipv4Addr) -> Result<(), LabError> {
    let add = handle.address().add(link, IpAddr::V4(address), PREFIX).execute();
    add.await.map_err(netlink("add address", &address.to_string()))
}

/// Picks a subnet that overlaps nothing on this machine.
pub(crate) fn free_subnet() -> Result<Ipv4Addr, LabError> {
    let taken = run(|handle| async move { taken(&handle).await })?;
    let candidates = (200..=207).flat_map(|x| (0..=255).map(move |y| Ipv4Addr::new(10, x, y, 0)));
    candidates.into_iter().find(|subnet| !taken.iter().any(|net| overlaps(*subnet, *net))).ok_or(LabError::NoFreeSubnet)
}

/// Networks of all addresses and routes of this machine.
async fn taken(handle: &Handle) -> Result<Vec<(Ipv4Addr, u8)>, LabError> {
    let mut all = Vec::new();
    let mut addresses = handle.address().get().execute();
    while let Some(address) = addresses.try_next().await.map_err(netlink("list", "addresses"))? {
        let prefix = address.header.prefix_len;
        all.extend(address.attributes.iter().filter_map(|attribute| match attribute {
            AddressAttribute::Address(IpAddr::V4(ip)) => Some((*ip, prefix)),
            _other => None,
        }));
    }
    let mut routes = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    while let Some(route) = routes.try_next().await.map_err(netlink("list", "routes"))? {
        let prefix = route.header.destination_prefix_length;
        all.extend(route.attributes.iter().filter_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => Some((*ip, prefix)),
            _other => None,
        }));
    }
    Ok(all)
}

fn overlaps(subnet: Ipv4Addr, (ip, prefix): (Ipv4Addr, u8)) -> bool {
    let shared = u32::from(prefix.min(PREFIX));
    let mask = u32::MAX.checked_shl(32 - shared).unwrap_or(0);
    prefix >= WIDEST_CLASH && subnet.to_bits() & mask == ip.to_bits() & mask
}

/// Makes the bridge of a lab, with the host's address on it.
pub(crate) fn create_bridge(name: &str, gateway: Ipv4Addr) -> Result<(), LabError> {
    run(|handle| async move {
        let add = handle.link().add(LinkBridge::new(name).up().build()).execute();
        add.await.map_err(netlink("create bridge", name))?;
        let bridge = index(&handle, name).await?;
        add_address(&handle, bridge, gateway).await
    })
}

/// Joins a node to the bridge: one end of the pair on the host, the other in the namespace of `pid`.
pub(crate) fn attach(bridge: &str, host_end: &str, pid: i32) -> Result<(), LabError> {
    let peer = format!("p{host_end}").chars().take(15).collect::<String>();
    run(|handle| async move {
        if let Some(old) = find(&handle, host_end).await? {
            // The kernel removes the pair of a dead node a moment after the node's last process.
            delete_index(&handle, old, host_end).await?;
        }
        let add = handle.link().add(LinkVeth::new(host_end, &peer).build()).execute();
        add.await.map_err(netlink("create link", host_end))?;
        let controller = index(&handle, bridge).await?;
        let host = LinkUnspec::new_with_index(index(&handle, host_end).await?).controller(controller).up().build();
        handle.link().set(host).execute().await.map_err(netlink("join to bridge", host_end))?;
        let moved = LinkUnspec::new_with_index(index(&handle, &peer).await?).name(NODE_LINK).setns_by_pid(pid as u32);
        handle.link().set(moved.build()).execute().await.map_err(netlink("move into node", &peer))
    })
}

/// Called inside a node: brings up loopback and the node's own link.
pub(crate) fn configure_node(address: Ipv4Addr) -> Result<(), LabError> {
    run(|handle| async move {
        let loopback = LinkUnspec::new_with_index(index(&handle, "lo").await?).up().build();
        handle.link().set(loopback).execute().await.map_err(netlink("bring up", "lo"))?;
        let link = index(&handle, NODE_LINK).await?;
        // The same hardware address on every boot, or the neighbours talk to a dead one for half a minute.
        let hardware = [&[0x02, 0xbe], &address.octets()[..]].concat();
        let set = LinkUnspec::new_with_index(link).address(hardware).build();
        handle.link().set(set).execute().await.map_err(netlink("set hardware address of", NODE_LINK))?;
        add_address(&handle, link, address).await?;
        let up = LinkUnspec::new_with_index(link).up().build();
        handle.link().set(up).execute().await.map_err(netlink("bring up", NODE_LINK))
    })
}

/// Turns the host's end of a node's link on or off.
pub(crate) fn set_link(name: &str, state: LinkState) -> Result<(), LabError> {
    run(|handle| async move {
        let link: LinkMessageBuilder<LinkUnspec> = LinkUnspec::new_with_index(index(&handle, name).await?);
        let link = match state {
            LinkState::Up => link.up(),
            LinkState::Down => link.down(),
        };
        handle.link().set(link.build()).execute().await.map_err(netlink("switch", name))
    })
}

/// Whether a link of this name exists on the host.
pub(crate) fn exists(name: &str) -> Result<bool, LabError> {
    run(|handle| async move { Ok(find(&handle, name).await?.is_some()) })
}

/// Removes a link; one that is gone already is no error.
pub(crate) fn delete(name: &str) -> Result<(), LabError> {
    run(|handle| async move {
        match find(&handle, name).await? {
            Some(index) => delete_index(&handle, index, name).await,
            None => Ok(()),
        }
    })
}

async fn delete_index(handle: &Handle, index: u32, name: &str) -> Result<(), LabError> {
    match handle.link().del(index).execute().await {
        Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code() == -nix::libc::ENODEV => Ok(()),
        other => other.map_err(netlink("delete link", name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_clashes_with_what_lies_in_it_or_around_it() {
        let subnet = Ipv4Addr::new(10, 200, 3, 0);
        for (ip, prefix, expected) in [
            ([10, 200, 3, 7], 32, true),
            ([10, 200, 3, 1], 24, true),
            ([10, 200, 0, 0], 16, true),
            ([10, 200, 4, 1], 24, false),
            ([10, 0, 0, 0], 8, false),
            ([0, 0, 0, 0], 0, false),
        ] {
            assert_eq!(overlaps(subnet, (Ipv4Addr::from(ip), prefix)), expected, "{ip:?}/{prefix}");
        }
    }
}
