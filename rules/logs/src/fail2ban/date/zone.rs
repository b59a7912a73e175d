//! Names of time zones as Fail2ban takes them: each with one offset, whatever the season.

/// Names by hours east of UTC, in quarters of an hour. A name in two rows counts as the last one.
const ZONES: &[(i32, &str)] = &[
    (-48, "Y"),
    (-44, "X NUT SST"),
    (-40, "W CKT HAST HST TAHT TKT"),
    (-36, "V AKST GAMT GIT HADT HNY"),
    (-32, "U AKDT CIST HAY HNP PST PT"),
    (-28, "T HAP HNR MST PDT"),
    (-24, "S CST EAST GALT HAR HNC MDT"),
    (-20, "R CDT COT EASST ECT EST ET HAC HNE PET"),
    (-16, "Q AST BOT CLT COST EDT FKT GYT HAE HNA PYT"),
    (-12, "P ADT ART BRT CLST FKST GFT HAA PMST PYST SRT UYT WGT"),
    (-8, "O BRST FNT PMDT UYST WGST"),
    (-4, "N AZOT CVT EGT"),
    (0, "Z EGST GMT UTC WET WT"),
    (4, "A CET DFT WAT WEDT WEST"),
    (8, "B CAT CEDT CEST EET SAST WAST"),
    (12, "C EAT EEDT EEST IDT MSK"),
    (16, "D AMT AZT GET GST KUYT MSD MUT RET SAMT SCT"),
    (20, "E AMST AQTT AZST HMT MAWT MVT PKT TFT TJT TMT UZT YEKT"),
    (24, "F ALMT BIOT BTT IOT KGT NOVT OMST YEKST"),
    (28, "G CXT DAVT HOVT ICT KRAT NOVST OMSST THA WIB"),
    (32, "H ACT AWST BDT BNT CAST HKT IRKT KRAST MYT PHT SGT ULAT WITA WST"),
    (36, "I AWDT IRKST JST KST PWT TLT WDT WIT YAKT"),
    (40, "K AEST PGT VLAT YAKST YAPT"),
    (44, "L AEDT LHDT MAGT NCT PONT SBT VLAST VUT"),
    (48, "M ANAST ANAT FJT GILT MAGST MHT NZST PETST PETT TVT WFT"),
    (52, "FJST NZDT"),
    (46, "NFT"),
    (42, "ACDT LHST"),
    (38, "ACST"),
    (26, "CCT MMT"),
    (23, "NPT"),
    (22, "SLT"),
    (18, "AFT IRDT"),
    (14, "IRST"),
    (-10, "HAT NDT"),
    (-14, "HNT NST NT"),
    (-18, "HLV VET"),
    (-38, "MART MIT"),
];

/// Seconds east of UTC of `CET`, `+0100`, `-01:30`, `UTC+02`; nothing if it is none of these.
pub(crate) fn offset(text: &str) -> Option<i64> {
    let at = text.find(['+', '-']).unwrap_or(text.len());
    let (name, number) = text.split_at(at);
    let mut seconds = 0;
    if !name.is_empty() {
        let row = ZONES.iter().rev().find(|(_, names)| names.split(' ').any(|known| known == name))?;
        seconds = i64::from(row.0) * 900;
    }
    if number.is_empty() {
        return (!name.is_empty()).then_some(seconds);
    }
    let digits: Vec<i64> =
        number[1..].bytes().filter(|byte| *byte != b':').map(|byte| i64::from(byte) - 48).collect();
    let right = matches!(digits.len(), 2 | 4) && digits.iter().all(|digit| (0..=9).contains(digit));
    right.then_some(())?;
    let minutes = digits.get(2).zip(digits.get(3)).map_or(0, |(tens, ones)| tens * 10 + ones);
    let east = (digits[0] * 10 + digits[1]) * 3600 + minutes * 60;
    Some(if number.starts_with('-') { seconds - east } else { seconds + east })
}

#[cfg(test)]
mod tests {
    #[test]
    fn offsets() {
        for (text, seconds) in [
            ("UTC", Some(0)),
            ("CET", Some(3600)),
            ("+0130", Some(5400)),
            ("-01:30", Some(-5400)),
            ("UTC+02", Some(7200)),
            ("NST", Some(-12_600)),
            ("", None),
            ("XYZ", None),
            ("+1", None),
            ("+ä1", None),
        ] {
            assert_eq!(super::offset(text), seconds, "{text}");
        }
    }
}
