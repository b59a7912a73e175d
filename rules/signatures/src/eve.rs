//! Alerts as EVE JSON, with the fields that readers of Suricata's `eve.json` rely on.

use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::inspector::Alert;

/// One line of EVE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EveAlert {
    /// `2025-08-01T12:00:00.123456+0000`.
    pub timestamp: String,
    /// The same for all alerts of a flow.
    pub flow_id: u64,
    /// Number of the packet in the capture, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcap_cnt: Option<u64>,
    /// `alert`.
    pub event_type: &'static str,
    /// VLAN ids, where there are some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vlan: Vec<u16>,
    /// Source address.
    pub src_ip: IpAddr,
    /// Source port, for TCP and UDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_port: Option<u16>,
    /// Destination address.
    pub dest_ip: IpAddr,
    /// Destination port, for TCP and UDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_port: Option<u16>,
    /// `TCP`, `UDP`, `ICMP`, `IPv6-ICMP` or a number.
    pub proto: String,
    /// ICMP type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// ICMP code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u8>,
    /// `to_server` or `to_client`.
    pub direction: &'static str,
    /// The rule.
    pub alert: EveSignature,
}

/// The rule's part of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EveSignature {
    /// `allowed` or `blocked`.
    pub action: &'static str,
    /// Generator.
    pub gid: u32,
    /// Signature id.
    pub signature_id: u32,
    /// Revision.
    pub rev: u32,
    /// Message.
    pub signature: String,
    /// Class in words.
    pub category: String,
    /// 1 is the most severe.
    pub severity: u8,
    /// `metadata:` by key, lower case.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Vec<String>>,
}

impl From<&Alert> for EveAlert {
    fn from(alert: &Alert) -> Self {
        let rule = &alert.rule;
        let mut metadata: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in &rule.metadata {
            metadata.entry(key.clone()).or_default().push(value.clone());
        }
        let has_ports = matches!(alert.protocol, 6 | 17);
        Self {
            timestamp: alert.at.to_string().replace('Z', "+0000"),
            flow_id: alert.flow_id,
            pcap_cnt: (alert.packet_number > 0).then_some(alert.packet_number),
            event_type: "alert",
            vlan: if alert.vlan > 0 { vec![alert.vlan] } else { Vec::new() },
            src_ip: alert.source,
            src_port: has_ports.then_some(alert.source_port),
            dest_ip: alert.destination,
            dest_port: has_ports.then_some(alert.destination_port),
            proto: alert.protocol_name(),
            icmp_type: alert.icmp.map(|(kind, _)| kind),
            icmp_code: alert.icmp.map(|(_, code)| code),
            direction: alert.direction.name(),
            alert: EveSignature {
                action: if alert.blocked { "blocked" } else { "allowed" },
                gid: rule.gid,
                signature_id: rule.sid,
                rev: rule.rev,
                signature: rule.msg.clone(),
                category: rule.category.clone(),
                severity: rule.priority,
                metadata,
            },
        }
    }
}
