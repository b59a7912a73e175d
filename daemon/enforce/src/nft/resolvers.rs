//! Questions to resolvers outside: led to the router's own, or dropped in the chain of the pair of zones.

use abi::ZoneId;
use model::{Mode, Protocol};
use nftables::{
    expr::{Expression, Fib, FibFlag, FibResult, MetaKey, NamedExpression},
    stmt::{NAT, NATFamily, Statement},
    types::{NfChainType, NfHook},
};
use policy::{OtherResolvers, Zone};
use std::{collections::HashSet, net::SocketAddr};

use super::{
    render::Rendering,
    sides::Field,
    spans::Family,
    syntax::{accept, counter, device, equals, meta, number, one_of, payload, text},
};

/// Matches of the questions that are not a matter of rules.
pub(super) fn questions(resolvers: OtherResolvers) -> Vec<Vec<Statement<'static>>> {
    let ports: Vec<_> = resolvers.ports().iter().map(|port| number(*port)).collect();
    if ports.is_empty() {
        return Vec::new();
    }
    let asked = |protocol: Protocol| {
        let name = if protocol == Protocol::UDP { "udp" } else { "tcp" };
        vec![equals(payload(name, "dport"), one_of(ports.clone()))]
    };
    vec![asked(Protocol::UDP), asked(Protocol::TCP)]
}

impl Rendering<'_> {
    /// As they arrive: what will be led here was judged, so that no rule for the router has to let it in.
    pub(super) fn redirected_arrivals(&mut self, chain: &str, judged: &Statement<'static>) {
        for (matched, _) in self.redirected() {
            let statements = matched.into_iter().chain([judged.clone(), accept()]).collect();
            self.rule(chain, statements, None);
        }
    }

    /// The translation, where packets come in.
    pub(super) fn redirect(&mut self) {
        let redirected = self.redirected();
        if !redirected.is_empty() && self.policy.forwards.is_empty() {
            self.base("translation", NfChainType::NAT, NfHook::Prerouting, -100);
        }
        for (matched, target) in redirected {
            let statements = matched.into_iter().chain([counter(), target]).collect();
            self.rule("translation", statements, Some("resolvers"));
        }
    }

    /// Matches of questions that are led here, and where to. In observe mode nothing is led anywhere.
    fn redirected(&mut self) -> Vec<(Vec<Statement<'static>>, Statement<'static>)> {
        let policy = self.policy;
        let Some(outside) = policy.zones.iter().find(|zone| zone.wan) else { return Vec::new() };
        let enforces = |zone: ZoneId| self.mode_of(zone) == Mode::Enforce;
        let zones: Vec<&Zone> = policy.zones.iter().filter(|zone| enforces(zone.id)).collect();
        let mut redirected = Vec::new();
        for zone in zones {
            let OtherResolvers::Redirect { v4, v6 } = zone.resolvers else { continue };
            for (family, door) in [(Family::V4, v4), (Family::V6, v6)] {
                let Some(door) = door else { continue };
                let of_family = equals(meta(MetaKey::Nfproto), text(family.protocol()));
                let at_wan = self.sets.at_home(outside, family, Field::Destination);
                for asked in questions(zone.resolvers) {
                    let first =
                        [equals(meta(MetaKey::Iifname), device(zone)), of_family.clone(), to_another()];
                    let matched = first.into_iter().chain(at_wan.clone()).chain(asked).collect();
                    redirected.push((matched, target(family, door)));
                }
            }
        }
        redirected
    }
}

/// The destination is neither the router nor many.
fn to_another() -> Statement<'static> {
    let fib = Fib { result: FibResult::Type, flags: HashSet::from([FibFlag::Daddr]) };
    equals(Expression::Named(NamedExpression::Fib(fib)), text("unicast"))
}

fn target(family: Family, door: SocketAddr) -> Statement<'static> {
    let port = Some(number(door.port()));
    if door.ip().is_unspecified() {
        return Statement::Redirect(Some(NAT { addr: None, family: None, port, flags: None }));
    }
    let of = match family {
        Family::V4 => NATFamily::IP,
        Family::V6 => NATFamily::IP6,
    };
    Statement::DNAT(Some(NAT {
        addr: Some(text(&door.ip().to_string())),
        family: Some(of),
        port,
        flags: None,
    }))
}
