//! `secctl dns test`.

use protocol::DnsTest;
use std::io;

use crate::{
    commands::why,
    output::{Output, Paint, plain},
    text::escape,
};

pub(super) fn print(output: &mut Output<'_>, test: &DnsTest) -> io::Result<()> {
    let code = test.code.as_deref().unwrap_or("no answer");
    let paint = if test.code.as_deref() == Some("NOERROR") { Paint::Good } else { Paint::Warn };
    let line = format!(
        "{} is the answer to {} from {}.",
        output.paint(code, paint),
        escape(&test.qtype),
        test.address
    );
    output.sentence(&line)?;
    for record in &test.records {
        output.line(&format!("  {}", escape(record)))?;
    }
    let mut facts = Vec::new();
    if let Some(said) = &test.said {
        facts.push(("it says", plain(said)));
    }
    if test.special {
        facts.push(("from", plain("this resolver itself: the name is not asked outside")));
    }
    if let Some(behind) = &test.behind {
        facts.push(("decided by", plain(format!("what is behind the name: {behind}"))));
    }
    output.facts(2, &facts)?;
    why::print(output, &test.why)
}
