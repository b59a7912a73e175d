//! What holds between the start of the machine and that of the daemon: a zone that fails closed takes in nothing but
//! what its link and the router need, one that fails open everything.

use model::Mode;
use nftables::{
    expr::MetaKey,
    stmt::Statement,
    types::{NfChainType, NfHook},
};
use policy::{Policy, Zone};

use super::{
    command::NftError,
    render::{Options, Rendering, known},
    syntax::{accept, counter, equals, meta, text},
};

/// The transaction that makes the table before the daemon is up; nft refuses it where there is a table already, and
/// [`super::Wall::apply`] replaces it in one step.
///
/// - Answers to what the router or an open zone began pass, and what links need: neighbour and router discovery, MLD,
///   IGMP, DHCP.
/// - Nothing else that comes in from a closed zone does. A zone that only observes is never closed.
/// - What leaves is masqueraded and clamped as the policy says, so that what passes is of use. No port is forwarded.
///
/// # Errors
/// None for a policy that [`super::render`] takes.
pub fn early(policy: &Policy) -> Result<Vec<u8>, NftError> {
    let bare = Policy { rules: Vec::new(), forwards: Vec::new(), ..policy.clone() };
    let options = Options::default();
    let mut wall = Rendering::new(&bare, &options, "");
    wall.base("input", NfChainType::Filter, NfHook::Input, 0);
    wall.rule("input", vec![equals(meta(MetaKey::Iifname), text("lo")), accept()], None);
    wall.base("forward", NfChainType::Filter, NfHook::Forward, 0);
    for chain in ["input", "forward"] {
        wall.rule(chain, vec![known(), accept()], None);
        if chain == "input" {
            wall.essentials(chain, MetaKey::Iifname);
        }
        let closed = |zone: &Zone| !zone.fail_open && bare.mode.and(zone.mode) == Mode::Enforce;
        if let Some(closed) = wall.devices_of(MetaKey::Iifname, closed) {
            wall.rule(chain, vec![closed, counter(), Statement::Drop(None)], Some("not up yet"));
        }
    }
    wall.translation();
    wall.clamping();
    Ok(wall.finished()?.creation())
}
