//! Short words for what the nftables crate writes at length.

use ipnet::IpNet;
use nftables::{
    expr::{
        BinaryOperation, CT, CTDir, Expression, Fib, FibFlag, FibResult, Meta, MetaKey, NamedExpression,
        Payload, PayloadField, Prefix, Range, SetItem,
    },
    stmt::{Counter, JumpTarget, Match, Operator, Reject, RejectType, Statement},
    types::RejectCode,
};
use policy::Zone;
use std::{borrow::Cow, collections::HashSet};

use super::spans::Written;

pub(super) fn owned(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}

pub(super) fn text(text: &str) -> Expression<'static> {
    Expression::String(owned(text))
}

pub(super) fn number(number: u16) -> Expression<'static> {
    Expression::Number(u32::from(number))
}

pub(super) fn device(zone: &Zone) -> Expression<'static> {
    text(&zone.device)
}

pub(super) fn meta(key: MetaKey) -> Expression<'static> {
    Expression::Named(NamedExpression::Meta(Meta { key }))
}

/// A field of conntrack's entry.
pub(super) fn conntrack(key: &'static str) -> Expression<'static> {
    Expression::Named(NamedExpression::CT(CT { key: key.into(), family: None, dir: None::<CTDir> }))
}

pub(super) fn payload(protocol: &'static str, field: &'static str) -> Expression<'static> {
    let field = PayloadField { protocol: protocol.into(), field: field.into() };
    Expression::Named(NamedExpression::Payload(Payload::PayloadField(field)))
}

/// TCP flags of which only these are looked at.
pub(super) fn tcp_flags(looked_at: &[&'static str]) -> Expression<'static> {
    let mask = Expression::List(looked_at.iter().map(|flag| text(flag)).collect());
    let flags = payload("tcp", "flags");
    Expression::BinaryOperation(Box::new(BinaryOperation::AND(flags, mask)))
}

/// The first 64 bits of an IPv6 source: what one household has.
pub(super) fn source_network() -> Expression<'static> {
    let (source, mask) = (payload("ip6", "saddr"), text("ffff:ffff:ffff:ffff::"));
    Expression::BinaryOperation(Box::new(BinaryOperation::AND(source, mask)))
}

/// The destination is one of the router's own addresses.
pub(super) fn to_the_router() -> Statement<'static> {
    let flags = HashSet::from([FibFlag::Daddr]);
    equals(Expression::Named(NamedExpression::Fib(Fib { result: FibResult::Type, flags })), text("local"))
}

pub(super) fn range(first: u16, last: u16) -> Expression<'static> {
    if first == last {
        return number(first);
    }
    Expression::Range(Box::new(Range { range: [first, last].map(number) }))
}

pub(super) fn prefix(net: IpNet) -> Expression<'static> {
    written(Written::Net(net.addr(), net.prefix_len()))
}

pub(super) fn written(span: Written) -> Expression<'static> {
    match span {
        Written::Net(address, length) if length == if address.is_ipv4() { 32 } else { 128 } => {
            text(&address.to_string())
        }
        Written::Net(address, length) => {
            let addr = Box::new(text(&address.to_string()));
            Expression::Named(NamedExpression::Prefix(Prefix { addr, len: u32::from(length) }))
        }
        Written::Range(first, last) => Expression::Range(Box::new(Range {
            range: [first, last].map(|address| text(&address.to_string())),
        })),
    }
}

/// A set, or its only element as it is.
pub(super) fn one_of(mut elements: Vec<Expression<'static>>) -> Expression<'static> {
    match elements.pop() {
        Some(only) if elements.is_empty() => only,
        last => {
            let items = elements.into_iter().chain(last).map(SetItem::Element).collect();
            Expression::Named(NamedExpression::Set(items))
        }
    }
}

pub(super) fn concat(parts: [Expression<'static>; 2]) -> Expression<'static> {
    Expression::Named(NamedExpression::Concat(parts.into()))
}

pub(super) fn equals(left: Expression<'static>, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match { left, right, op: Operator::EQ })
}

pub(super) fn differs(left: Expression<'static>, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match { left, right, op: Operator::NEQ })
}

pub(super) fn is_in(left: Expression<'static>, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match { left, right, op: Operator::IN })
}

pub(super) fn accept() -> Statement<'static> {
    Statement::Accept(None)
}

pub(super) fn goto(chain: &str) -> Statement<'static> {
    Statement::Goto(JumpTarget { target: owned(chain) })
}

pub(super) fn jump(chain: &str) -> Statement<'static> {
    Statement::Jump(JumpTarget { target: owned(chain) })
}

pub(super) fn counter() -> Statement<'static> {
    Statement::Counter(Counter::Anonymous(None))
}

pub(super) fn reject(kind: RejectType, code: Option<RejectCode>) -> Statement<'static> {
    Statement::Reject(Some(Reject::new(Some(kind), code)))
}
