//! Writes the seeds that are bytes into `corpus/`; those that are text stand there as somebody wrote them.
//! `cargo run -p fuzz --example seeds`

use hickory_proto::{
    op::{Edns, Message, OpCode, Query},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, CNAME, SOA, TXT},
    },
};
use model::Mode;
use std::{
    error::Error,
    fs,
    io::{Cursor, Write},
    path::Path,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let write = |target: &str, name: &str, bytes: &[u8]| -> Outcome<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join(name), bytes)?)
    };
    for (name, bytes) in questions()? {
        write("dns-question", name, &bytes)?;
    }
    for (name, bytes) in answers()? {
        write("dns-answer", name, &bytes)?;
    }
    write("list-snapshot", "some-of-everything", &snapshot()?)?;
    let toml = "[dns]\nupstreams = [\"9.9.9.9\", \"2620:fe::fe#53\"]\nhosts = [\"10.0.0.5 nas\"]\ncnameRecords = [\"x,nas\"]\n";
    write("import-archive", "zip", &zip(&[("etc/pihole/pihole.toml", toml.as_bytes())])?)?;
    write("import-archive", "tar-gz", &tar_gz()?)?;
    write("import-database", "gravity", &database()?)?;
    let udp = frame(17, &[&[0x13, 0x88, 0, 53, 0, 20, 0, 0][..], &[0; 12]].concat());
    let tcp = frame(6, &[0x13, 0x88, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    for (name, at, bytes) in
        [("udp", 1, &udp), ("tcp", 1, &tcp), ("tagged", 3, &tcp), ("without-ethernet", 4, &udp)]
    {
        write("frame", name, &[&[at][..], if at == 4 { &bytes[14..] } else { bytes }].concat())?;
    }
    write("frame", "ipv6", &[&[1][..], &frame6()].concat())?;
    write(
        "image",
        "noise",
        &(0..4120_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>(),
    )?;
    write("capture", "pcap", &pcap(&[&udp, &tcp]))?;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(b"||ads.example^\n")?;
    write("packed", "gzip", &gzip.finish()?)?;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b'a'; 4 << 20])?;
    write("packed", "bomb", &bomb.finish()?)?;
    write("geoip", "one-node", &geoip())
}

fn questions() -> Outcome<Vec<(&'static str, Vec<u8>)>> {
    let of = |text: &str, qtype: RecordType, edns: bool| -> Outcome<Vec<u8>> {
        let mut query = Message::query();
        query.metadata.id = 0x1234;
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(Name::from_ascii(text)?, qtype));
        if edns {
            let mut edns = Edns::new();
            edns.set_max_payload(1232).set_dnssec_ok(true);
            query.set_edns(edns);
        }
        Ok([vec![0], query.to_vec()?].concat())
    };
    let mut cookie = of("www.example.", RecordType::A, false)?;
    let place = cookie.len();
    cookie.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08abcdefgh");
    cookie[12] = 1;
    Ok(vec![
        ("plain", of("www.example.", RecordType::A, false)?),
        ("edns", of("ads.example.", RecordType::AAAA, true)?),
        ("any", of("WWW.Example.", RecordType::ANY, true)?),
        ("special", of("use-application-dns.net.", RecordType::A, true)?),
        ("discovery", of("_dns.resolver.arpa.", RecordType::SVCB, true)?),
        ("root", of(".", RecordType::NS, true)?),
        ("rewritten", of("big.example.", RecordType::TXT, true)?),
        ("cut", cookie[..place].to_vec()),
        ("cookie", cookie),
    ])
}

fn answers() -> Outcome<Vec<(&'static str, Vec<u8>)>> {
    let name = |text: &str| Name::from_ascii(text);
    let of = |qtype: RecordType, records: Vec<Record>, authorities: Vec<Record>| -> Outcome<Vec<u8>> {
        let mut answer = Message::response(0x1234, OpCode::Query);
        answer.add_query(Query::query(name("www.example.")?, qtype));
        answer.answers = records;
        answer.authorities = authorities;
        Ok([u16::from(qtype).to_be_bytes().to_vec(), answer.to_vec()?].concat())
    };
    let address = |owner: &str| -> Outcome<Record> {
        Ok(Record::from_rdata(name(owner)?, 300, RData::A(A::new(192, 0, 2, 1))))
    };
    let alias = |owner: &str, to: &str| -> Outcome<Record> {
        Ok(Record::from_rdata(name(owner)?, 300, RData::CNAME(CNAME(name(to)?))))
    };
    let soa = SOA::new(name("ns.example.")?, name("root.example.")?, 1, 2, 3, 4, 60);
    let soa = Record::from_rdata(name("example.")?, 300, RData::SOA(soa));
    let text = |part: u8| {
        Ok::<_, Box<dyn Error>>(Record::from_rdata(
            name("www.example.")?,
            300,
            RData::TXT(TXT::new(vec![char::from(part).to_string().repeat(200)])),
        ))
    };
    Ok(vec![
        ("address", of(RecordType::A, vec![address("www.example.")?], Vec::new())?),
        (
            "alias",
            of(
                RecordType::A,
                vec![alias("www.example.", "x.example.")?, address("x.example.")?],
                Vec::new(),
            )?,
        ),
        (
            "loop",
            of(
                RecordType::A,
                vec![alias("www.example.", "x.example.")?, alias("x.example.", "www.example.")?],
                Vec::new(),
            )?,
        ),
        (
            "foreign",
            of(RecordType::A, vec![address("www.example.")?, address("bank.example.")?], Vec::new())?,
        ),
        (
            "lasting-alias-to-nothing",
            of(
                RecordType::A,
                vec![Record::from_rdata(
                    name("www.example.")?,
                    1_000_000,
                    RData::CNAME(CNAME(name("x.example.")?)),
                )],
                Vec::new(),
            )?,
        ),
        ("nothing", of(RecordType::AAAA, Vec::new(), vec![soa])?),
        ("large", of(RecordType::TXT, (b'a'..=b'y').map(text).collect::<Outcome<_>>()?, Vec::new())?),
    ])
}

fn snapshot() -> Outcome<Vec<u8>> {
    let mut builder = lists::DomainSetBuilder::new(7);
    let text = b"||ads.example^\n@@||good.ads.example^$important\n||typed.example^$dnstype=A\n^rx[0-9]\\.;querytype=TXT\n||r.example^$dnsrewrite=192.0.2.1\n";
    builder.add("ads", Mode::Enforce, text)?;
    Ok(builder.finish().write())
}

fn zip(files: &[(&str, &[u8])]) -> Outcome<Vec<u8>> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default())?;
        writer.write_all(bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}

fn tar_gz() -> Outcome<Vec<u8>> {
    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best()));
    let files: [(&str, &[u8]); 4] = [
        ("setupVars.conf", b"PIHOLE_DNS_1=9.9.9.9\nBLOCKING_ENABLED=true\n"),
        ("custom.list", b"10.0.0.5 nas.lan\n"),
        ("blacklist.regex.json", br#"[{"id":1,"domain":"^ads[0-9]","enabled":1,"comment":"x"}]"#),
        ("adlist.json", br#"[{"id":1,"address":"https://lists.example/a.txt","enabled":1}]"#),
    ];
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes)?;
    }
    Ok(archive.into_inner()?.finish()?)
}

fn database() -> Outcome<Vec<u8>> {
    let connection = rusqlite::Connection::open_in_memory()?;
    connection.execute_batch(
        "PRAGMA page_size = 512;
        CREATE TABLE \"group\" (id INTEGER, enabled INTEGER, name TEXT, description TEXT);
        CREATE TABLE adlist (id INTEGER, address TEXT, enabled INTEGER, comment TEXT, type INTEGER);
        CREATE TABLE domainlist (id INTEGER, type INTEGER, domain TEXT, enabled INTEGER, comment TEXT);
        CREATE TABLE client (id INTEGER, ip TEXT, comment TEXT);
        CREATE TABLE adlist_by_group (adlist_id INTEGER, group_id INTEGER);
        CREATE TABLE domainlist_by_group (domainlist_id INTEGER, group_id INTEGER);
        CREATE TABLE client_by_group (client_id INTEGER, group_id INTEGER);
        INSERT INTO \"group\" VALUES (0, 1, 'Default', NULL), (1, 1, 'kids', 'x');
        INSERT INTO adlist VALUES (1, 'https://lists.example/ads.txt', 1, NULL, 0);
        INSERT INTO adlist_by_group VALUES (1, 0);
        INSERT INTO domainlist VALUES (1, 1, 'ads.example', 1, NULL), (2, 2, '^good[\\d]', 1, 'c'), (3, 3, '^bad;querytype=A', 1, '');
        INSERT INTO domainlist_by_group VALUES (1, 0), (2, 1), (3, 0);
        INSERT INTO client VALUES (1, '10.0.0.9', 'tablet'), (2, 'aa:bb:cc:dd:ee:ff', ''), (3, ':eth0', '');
        INSERT INTO client_by_group VALUES (1, 1), (2, 0), (3, 0);
        VACUUM;",
    )?;
    Ok(connection.serialize(rusqlite::MAIN_DB)?.to_vec())
}

/// An Ethernet frame from the home zone to the Internet.
fn frame(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut frame = vec![
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, protocol, 0,
        0,
    ];
    frame.extend_from_slice(&[10, 3, 0, 9, 198, 51, 100, 7]);
    frame.extend_from_slice(payload);
    frame
}

fn frame6() -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 0, 64];
    frame.extend_from_slice(&[0xfd, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    frame.extend_from_slice(&[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    // Hop-by-hop options, then UDP.
    frame.extend_from_slice(&[17, 0, 1, 4, 0, 0, 0, 0, 0x13, 0x88, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4]);
    frame
}

fn pcap(frames: &[&Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&0xa1b2_c3d4_u32.to_le_bytes());
    bytes.extend_from_slice(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]);
    for (second, frame) in (1_790_000_000_u32..).zip(frames) {
        let length = u32::try_from(frame.len()).unwrap_or(0);
        for word in [second, 0, length, length] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(frame);
    }
    bytes
}

/// A tree of one node, whose halves both are one country.
fn geoip() -> Vec<u8> {
    let text = |text: &str| [&[0x40 | text.len() as u8][..], text.as_bytes()].concat();
    let number = |number: u8| vec![0xa1, number];
    let data = [vec![0xe1], text("country"), vec![0xe1], text("iso_code"), text("DE")].concat();
    let mut bytes = vec![0, 0, 17, 0, 0, 17];
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(&data);
    bytes.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let metadata = [
        vec![0xe9],
        text("node_count"),
        vec![0xc1, 1],
        text("record_size"),
        number(24),
        text("ip_version"),
        number(6),
        text("database_type"),
        text("Country"),
        text("languages"),
        vec![0x00, 0x04],
        text("binary_format_major_version"),
        number(2),
        text("binary_format_minor_version"),
        number(0),
        text("build_epoch"),
        vec![0x01, 0x02, 1],
        text("description"),
        vec![0xe0],
    ];
    bytes.extend_from_slice(&metadata.concat());
    bytes
}
