//! Services by name: the usual ones of a homelab, and the texts by which people write their own.
//!
//! Ports are those of the IANA registry where a service has one, else the default of the program's own documentation.

use model::Protocol;

use crate::{Service, ServiceMatch, has_ports};

/// A built-in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// Its name in rules.
    pub name: &'static str,
    /// What it matches, in the texts that [`parse_match`] reads.
    pub matches: &'static [&'static str],
    /// What it is, in one line.
    pub doc: &'static str,
}

impl BuiltIn {
    /// As rules hold it.
    #[must_use]
    pub fn service(&self) -> Service {
        // Every text of the list is read by a test, so nothing is left out here.
        let matches = self.matches.iter().filter_map(|text| parse_match(text).ok()).collect();
        Service { name: self.name.to_owned(), matches }
    }
}

/// The built-in service of this name.
#[must_use]
pub fn built_in(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|service| service.name == name)
}

/// Why a text is no service match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a service: {why}; write for example `tcp/80`, `tcp/8000-8100`, `udp/53`, `icmp` or `icmp/8`"
)]
pub struct ServiceError {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

/// Reads `tcp/80`, `tcp/8000-8100`, `udp`, `icmp`, `icmp/8` (type), `icmp/3/4` (type and code), `icmpv6/128`, or a
/// protocol without ports: `esp`, `ah`, `gre`, `6in4`, `ospf`, `sctp`, `vrrp`, or any other by number, `ip/89`.
///
/// # Errors
/// Says what is wrong and what to write.
pub fn parse_match(text: &str) -> Result<ServiceMatch, ServiceError> {
    let wrong = |why: String| ServiceError { text: text.to_owned(), why };
    let (protocol, rest) = match text.trim().split_once('/') {
        Some((protocol, rest)) => (protocol, Some(rest)),
        None => (text.trim(), None),
    };
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::TCP,
        "udp" => Protocol::UDP,
        "icmp" => Protocol::ICMP,
        "icmpv6" => Protocol::ICMPV6,
        "ip" => {
            let number = rest.unwrap_or_default();
            let protocol =
                Protocol(number.parse().map_err(|_| wrong(format!("`{number}` is no protocol number")))?);
            if has_ports(protocol) {
                return Err(wrong(format!("this protocol has a name, `{protocol}`")));
            }
            return Ok(ServiceMatch::new(protocol, 0, u16::MAX));
        }
        name => match PORTLESS.iter().find(|(portless, _)| *portless == name) {
            Some((_, number)) => Protocol(*number),
            None if name.parse::<u16>().is_ok() => {
                return Err(wrong(format!("a port needs its protocol, `tcp/{name}`")));
            }
            None => return Err(wrong(format!("`{name}` is not a protocol"))),
        },
    };
    let Some(rest) = rest else { return Ok(ServiceMatch::new(protocol, 0, u16::MAX)) };
    match protocol {
        Protocol::TCP | Protocol::UDP => {
            let (first, last) = rest.split_once('-').unwrap_or((rest, rest));
            let port = |part: &str| match part.trim().parse::<u16>() {
                Ok(0) => Err(wrong("port 0 cannot be used".into())),
                Ok(port) => Ok(port),
                Err(_) => Err(wrong(format!("`{part}` is not a port (1 to 65535)"))),
            };
            let (first, last) = (port(first)?, port(last)?);
            if first > last {
                return Err(wrong(format!("the range ends before it starts; write `{last}-{first}`")));
            }
            Ok(ServiceMatch::new(protocol, first, last))
        }
        Protocol::ICMP | Protocol::ICMPV6 => {
            let number = |part: &str, what: &str| {
                part.trim()
                    .parse::<u8>()
                    .map_err(|_| wrong(format!("`{part}` is not an ICMP {what} (0 to 255)")))
            };
            let (first, last) = match rest.split_once('/') {
                Some((kind, code)) => {
                    let code = number(code, "code")?;
                    ([number(kind, "type")?, code], [number(kind, "type")?, code])
                }
                None => ([number(rest, "type")?, 0], [number(rest, "type")?, u8::MAX]),
            };
            Ok(ServiceMatch::new(protocol, u16::from_be_bytes(first), u16::from_be_bytes(last)))
        }
        Protocol(_) => Err(wrong("this protocol has no ports".into())),
    }
}

/// Protocols without ports that have a name here (IANA protocol numbers).
const PORTLESS: &[(&str, u8)] =
    &[("esp", 50), ("ah", 51), ("gre", 47), ("6in4", 41), ("ospf", 89), ("sctp", 132), ("vrrp", 112)];

macro_rules! services {
    ($($name:literal $matches:expr, $doc:literal;)+) => {
        /// Every built-in service, by name.
        pub const BUILT_IN: &[BuiltIn] = &[$(BuiltIn { name: $name, matches: &$matches, doc: $doc },)+];
    };
}

services! {
    "adguard_home" ["tcp/3000"], "AdGuard Home, its web page before set-up";
    "afp" ["tcp/548"], "Apple file sharing";
    "airplay" ["tcp/7000", "tcp/7100", "udp/6000-6011"], "AirPlay screens and speakers";
    "alertmanager" ["tcp/9093"], "Prometheus Alertmanager";
    "all_icmp" ["icmp", "icmpv6"], "every ICMP message of both families";
    "amqp" ["tcp/5672"], "RabbitMQ and other AMQP brokers";
    "amqps" ["tcp/5671"], "AMQP over TLS";
    "audiobookshelf" ["tcp/13378"], "Audiobookshelf";
    "authentik" ["tcp/9000", "tcp/9443"], "authentik sign-on";
    "bacula" ["tcp/9101-9103"], "Bacula and Bareos backups";
    "bazarr" ["tcp/6767"], "Bazarr";
    "bittorrent" ["tcp/6881-6889", "udp/6881-6889"], "BitTorrent peers";
    "borg" ["tcp/22"], "Borg backups over SSH";
    "bgp" ["tcp/179"], "BGP routing";
    "cadvisor" ["tcp/8080"], "cAdvisor container metrics";
    "calibre_web" ["tcp/8083"], "Calibre-Web";
    "cassandra" ["tcp/9042"], "Cassandra clients";
    "ceph" ["tcp/3300", "tcp/6789", "tcp/6800-7300"], "Ceph monitors and daemons";
    "chromecast" ["tcp/8008-8009", "tcp/8443"], "Google Cast control";
    "clickhouse" ["tcp/8123", "tcp/9000"], "ClickHouse over HTTP and native";
    "cockpit" ["tcp/9090"], "Cockpit server console";
    "coap" ["udp/5683-5684"], "CoAP things";
    "consul" ["tcp/8300-8302", "tcp/8500", "udp/8301-8302"], "HashiCorp Consul";
    "couchdb" ["tcp/5984"], "CouchDB";
    "dhcp" ["udp/67-68"], "DHCP for IPv4";
    "dhcpv6" ["udp/546-547"], "DHCP for IPv6";
    "dns" ["udp/53", "tcp/53"], "DNS over UDP and TCP";
    "docker" ["tcp/2376"], "Docker API over TLS";
    "doq" ["udp/853"], "DNS over QUIC";
    "dot" ["tcp/853"], "DNS over TLS";
    "elasticsearch" ["tcp/9200", "tcp/9300"], "Elasticsearch and OpenSearch";
    "emby" ["tcp/8096", "tcp/8920", "udp/7359"], "Emby media server";
    "esphome" ["tcp/6053", "tcp/3232"], "ESPHome native API and updates";
    "etcd" ["tcp/2379-2380"], "etcd clients and peers";
    "frigate" ["tcp/5000", "tcp/8554-8555", "tcp/8971", "udp/8555"], "Frigate cameras, page and streams";
    "ftp" ["tcp/21"], "FTP control";
    "git" ["tcp/9418"], "git daemon";
    "gitea" ["tcp/3000", "tcp/2222"], "Gitea or Forgejo, web and SSH";
    "gitlab_ssh" ["tcp/2222"], "GitLab's SSH beside the host's own";
    "grafana" ["tcp/3000"], "Grafana";
    "graphite" ["tcp/2003-2004", "udp/2003"], "Graphite metrics";
    "harbor" ["tcp/80", "tcp/443", "tcp/4443"], "Harbor container registry";
    "home_assistant" ["tcp/8123"], "Home Assistant";
    "homekit" ["tcp/21063-21064", "udp/5353"], "HomeKit bridges and discovery";
    "http" ["tcp/80"], "web";
    "http3" ["udp/443"], "web over QUIC";
    "http_alt" ["tcp/8080"], "web on its other port";
    "https" ["tcp/443"], "web over TLS";
    "https_alt" ["tcp/8443"], "web over TLS on its other port";
    "imap" ["tcp/143"], "IMAP mailboxes";
    "imaps" ["tcp/993"], "IMAP over TLS";
    "immich" ["tcp/2283"], "Immich photos";
    "influxdb" ["tcp/8086"], "InfluxDB";
    "iperf" ["tcp/5001", "tcp/5201", "udp/5001", "udp/5201"], "iperf speed tests";
    "ipmi" ["udp/623", "tcp/623"], "IPMI of server boards";
    "ipp" ["tcp/631", "udp/631"], "printing";
    "ipsec" ["udp/500", "udp/4500", "esp", "ah"], "IPsec with IKE";
    "irc" ["tcp/6667", "tcp/6697"], "IRC, plain and over TLS";
    "iscsi" ["tcp/860", "tcp/3260"], "iSCSI block storage";
    "jellyfin" ["tcp/8096", "tcp/8920", "udp/7359"], "Jellyfin media server";
    "jellyseerr" ["tcp/5055"], "Jellyseerr and Overseerr";
    "jetdirect" ["tcp/9100"], "raw printing";
    "kafka" ["tcp/9092-9093"], "Kafka brokers";
    "kerberos" ["tcp/88", "udp/88", "tcp/464", "udp/464"], "Kerberos and its password changes";
    "kubernetes" ["tcp/6443"], "Kubernetes API";
    "ldap" ["tcp/389", "udp/389"], "LDAP directory";
    "ldaps" ["tcp/636"], "LDAP over TLS";
    "lidarr" ["tcp/8686"], "Lidarr";
    "llmnr" ["udp/5355", "tcp/5355"], "link-local names of Windows";
    "loki" ["tcp/3100"], "Grafana Loki";
    "lpd" ["tcp/515"], "line printers";
    "matrix" ["tcp/8008", "tcp/8448"], "Matrix homeserver and federation";
    "mdns" ["udp/5353"], "multicast DNS, discovery on the link";
    "memcached" ["tcp/11211", "udp/11211"], "memcached";
    "minecraft" ["tcp/25565", "udp/19132-19133"], "Minecraft, Java and Bedrock";
    "minio" ["tcp/9000-9001"], "MinIO storage and console";
    "mongodb" ["tcp/27017-27019"], "MongoDB";
    "mosh" ["udp/60000-61000"], "mosh shells";
    "mountd" ["tcp/20048", "udp/20048"], "NFS 3 mount daemon";
    "mqtt" ["tcp/1883"], "MQTT broker";
    "mqtts" ["tcp/8883"], "MQTT over TLS";
    "mssql" ["tcp/1433", "udp/1434"], "Microsoft SQL Server";
    "mysql" ["tcp/3306"], "MySQL and MariaDB";
    "nats" ["tcp/4222"], "NATS messaging";
    "navidrome" ["tcp/4533"], "Navidrome music";
    "netbios" ["udp/137-138", "tcp/139"], "NetBIOS names and sessions";
    "netdata" ["tcp/19999"], "Netdata monitoring";
    "nextcloud" ["tcp/80", "tcp/443", "tcp/7867"], "Nextcloud with its push service";
    "nextcloud_talk" ["tcp/3478", "udp/3478"], "Nextcloud Talk's TURN server";
    "nfs" ["tcp/2049", "udp/2049", "tcp/111", "udp/111"], "NFS with its port mapper";
    "node_exporter" ["tcp/9100"], "Prometheus node exporter";
    "nomad" ["tcp/4646-4648"], "HashiCorp Nomad";
    "ntp" ["udp/123"], "time";
    "nut" ["tcp/3493"], "Network UPS Tools";
    "ollama" ["tcp/11434"], "Ollama";
    "onvif" ["tcp/8000", "udp/3702"], "ONVIF cameras and their discovery";
    "openvpn" ["udp/1194", "tcp/1194"], "OpenVPN";
    "opentelemetry" ["tcp/4317-4318"], "OpenTelemetry over gRPC and HTTP";
    "ospf" ["ospf"], "OSPF routing";
    "paperless" ["tcp/8000"], "Paperless-ngx";
    "ping" ["icmp/8", "icmpv6/128"], "echo requests of both families";
    "plex" ["tcp/32400", "udp/1900", "tcp/8324", "udp/32410-32414", "tcp/32469"], "Plex media server";
    "pop3" ["tcp/110"], "POP3 mailboxes";
    "pop3s" ["tcp/995"], "POP3 over TLS";
    "portainer" ["tcp/9443", "tcp/9000", "tcp/8000"], "Portainer and its agents' tunnel";
    "postgres" ["tcp/5432"], "PostgreSQL";
    "prometheus" ["tcp/9090"], "Prometheus";
    "prowlarr" ["tcp/9696"], "Prowlarr";
    "proxmox" ["tcp/8006", "tcp/3128", "tcp/5900-5999"], "Proxmox VE: page, SPICE and consoles";
    "proxmox_backup" ["tcp/8007"], "Proxmox Backup Server";
    "promtail" ["tcp/9080"], "Grafana Promtail";
    "pushgateway" ["tcp/9091"], "Prometheus Pushgateway";
    "qbittorrent" ["tcp/8080", "tcp/6881", "udp/6881"], "qBittorrent, page and peers";
    "radarr" ["tcp/7878"], "Radarr";
    "radius" ["udp/1812-1813"], "RADIUS sign-on and accounting";
    "rdp" ["tcp/3389", "udp/3389"], "Windows remote desktop";
    "readarr" ["tcp/8787"], "Readarr";
    "redis" ["tcp/6379"], "Redis and Valkey";
    "redis_sentinel" ["tcp/26379"], "Redis Sentinel";
    "restic" ["tcp/8000"], "restic REST server";
    "rpcbind" ["tcp/111", "udp/111"], "port mapper";
    "rsync" ["tcp/873"], "rsync daemon";
    "rtmp" ["tcp/1935"], "RTMP streams";
    "rtsp" ["tcp/554", "tcp/8554"], "camera streams";
    "s3" ["tcp/443", "tcp/9000"], "S3 storage over TLS or MinIO's port";
    "sabnzbd" ["tcp/8080"], "SABnzbd";
    "sip" ["tcp/5060-5061", "udp/5060-5061"], "telephony";
    "smb" ["tcp/445", "tcp/139", "udp/137-138"], "Windows and Samba shares";
    "smtp" ["tcp/25"], "mail between servers";
    "smtps" ["tcp/465"], "mail submission over TLS";
    "snmp" ["udp/161"], "SNMP queries";
    "snmp_trap" ["udp/162"], "SNMP traps";
    "sonarr" ["tcp/8989"], "Sonarr";
    "sonos" ["tcp/1400", "tcp/1443", "tcp/3400-3401", "tcp/3500"], "Sonos speakers";
    "spotify_connect" ["tcp/57621", "udp/57621"], "Spotify on the local network";
    "squid" ["tcp/3128"], "Squid web proxy";
    "ssdp" ["udp/1900"], "SSDP, discovery of UPnP";
    "ssh" ["tcp/22"], "SSH and SFTP";
    "statsd" ["udp/8125"], "StatsD metrics";
    "steam" ["tcp/27015", "udp/27015", "tcp/27036-27037", "udp/27031-27036"], "Steam games and streaming";
    "stun" ["udp/3478", "tcp/3478", "udp/5349", "tcp/5349"], "STUN and TURN";
    "submission" ["tcp/587"], "mail submission";
    "syncthing" ["tcp/22000", "udp/22000", "udp/21027"], "Syncthing peers and discovery";
    "syncthing_gui" ["tcp/8384"], "Syncthing's page";
    "synology" ["tcp/5000-5001"], "Synology DiskStation Manager";
    "syslog" ["udp/514", "tcp/514"], "system logs";
    "syslog_tls" ["tcp/6514"], "system logs over TLS";
    "tailscale" ["udp/41641"], "Tailscale peers";
    "tasmota" ["tcp/80"], "Tasmota devices";
    "teamspeak" ["udp/9987", "tcp/10011", "tcp/30033"], "TeamSpeak";
    "telegraf" ["udp/8125", "tcp/8125"], "Telegraf's StatsD input";
    "telnet" ["tcp/23"], "telnet, unencrypted";
    "tempo" ["tcp/3200"], "Grafana Tempo";
    "tftp" ["udp/69"], "TFTP, network boot";
    "traefik" ["tcp/80", "tcp/443", "udp/443"], "Traefik's entry points";
    "traefik_dashboard" ["tcp/8080"], "Traefik's dashboard";
    "transmission" ["tcp/9091", "tcp/51413", "udp/51413"], "Transmission, page and peers";
    "truenas" ["tcp/80", "tcp/443", "tcp/6000"], "TrueNAS page and API";
    "unifi" ["tcp/8080", "tcp/8443", "tcp/8880", "tcp/8843", "tcp/6789", "udp/3478", "udp/10001", "udp/1900"],
        "UniFi controller and its devices";
    "upnp" ["udp/1900", "tcp/5000", "tcp/49152-49154"], "UPnP devices";
    "uptime_kuma" ["tcp/3001"], "Uptime Kuma";
    "vault" ["tcp/8200-8201"], "HashiCorp Vault";
    "vaultwarden" ["tcp/80", "tcp/443"], "Vaultwarden behind its proxy";
    "victoria_metrics" ["tcp/8428"], "VictoriaMetrics";
    "vnc" ["tcp/5900-5999"], "VNC screens";
    "vxlan" ["udp/4789"], "VXLAN tunnels";
    "webdav" ["tcp/80", "tcp/443"], "files over the web";
    "whois" ["tcp/43"], "whois";
    "winbox" ["tcp/8291"], "MikroTik WinBox";
    "winrm" ["tcp/5985-5986"], "Windows remote management";
    "wireguard" ["udp/51820"], "WireGuard";
    "wsdd" ["udp/3702", "tcp/5357-5358"], "discovery of Windows hosts";
    "xmpp" ["tcp/5222-5223", "tcp/5269"], "XMPP clients and servers";
    "zabbix" ["tcp/10050-10051"], "Zabbix agents and server";
    "zigbee2mqtt" ["tcp/8080"], "Zigbee2MQTT's page";
    "zwave_js" ["tcp/3000", "tcp/8091"], "Z-Wave JS server and page";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_unique_and_readable() {
        for service in BUILT_IN {
            assert!(!service.matches.is_empty() && !service.doc.is_empty(), "{}", service.name);
            for text in service.matches {
                parse_match(text).unwrap();
            }
            assert_eq!(service.service().matches.len(), service.matches.len());
            assert!(service.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        }
        let mut names: Vec<_> = BUILT_IN.iter().map(|service| service.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), BUILT_IN.len());
        for name in ["ssh", "https", "dns", "mqtt", "smb", "nfs", "iscsi", "ping", "winbox", "wireguard"] {
            assert!(built_in(name).is_some(), "{name}");
        }
        assert!(built_in("any").is_none());
    }

    #[test]
    fn texts_as_people_write_them() {
        let read = |text: &str| parse_match(text).unwrap();
        assert_eq!(read("tcp/80"), ServiceMatch::new(Protocol::TCP, 80, 80));
        assert_eq!(read("TCP/8000-8100"), ServiceMatch::new(Protocol::TCP, 8000, 8100));
        assert_eq!(read("udp"), ServiceMatch::new(Protocol::UDP, 0, u16::MAX));
        assert_eq!(read("icmp"), ServiceMatch::new(Protocol::ICMP, 0, u16::MAX));
        assert_eq!(read("icmp/8"), ServiceMatch::new(Protocol::ICMP, 0x0800, 0x08ff));
        assert_eq!(read("icmp/3/4"), ServiceMatch::new(Protocol::ICMP, 0x0304, 0x0304));
        assert_eq!(read("icmpv6/128"), ServiceMatch::new(Protocol::ICMPV6, 0x8000, 0x80ff));
        assert_eq!(read("esp").protocol, Protocol(50));
        assert_eq!(read("ip/47").protocol, Protocol(47));
    }

    #[test]
    fn wrong_texts_say_what_to_write() {
        for (text, why) in [
            ("", "`` is not a protocol"),
            ("80x", "`80x` is not a protocol"),
            ("8080", "`tcp/8080`"),
            ("22", "`tcp/22`"),
            ("ip/6", "`tcp`"),
            ("ip/x", "no protocol number"),
            ("tcp/", "`` is not a port"),
            ("tcp/0", "port 0"),
            ("tcp/65536", "`65536` is not a port"),
            ("tcp/9-8", "write `8-9`"),
            ("tcp/80-", "`` is not a port"),
            ("icmp/256", "ICMP type"),
            ("icmp/3/x", "ICMP code"),
            ("esp/5", "no ports"),
            ("http", "`http` is not a protocol"),
        ] {
            let error = parse_match(text).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("write for example"), "{text}: {error}");
        }
    }
}
