//! The classifier alone, over secd's own image in the kernel: the questions of new flows, without packets.

use abi::{Address, image::RuleRow};
use anyhow::{Context as _, Result};
use bench_programs::{Asked, Control, KEYS};
use datapath::image::{Question, address, classify, device};
use policy::{Plan, image::Image};
use std::net::IpAddr;

use crate::{
    frame::{Family, Segment, frame},
    harness::{Harness, Side},
    micro::{Effort, JUDGED},
    report::Series,
    rules::{self, Opening},
    world::WAN,
};

/// Asks for every opening in turn; nanoseconds an answer beyond reading the question. Fails where an answer is not that
/// of the rules.
pub(crate) fn alone(
    harness: &mut Harness,
    plan: &Plan,
    openings: &[Opening],
    effort: Effort,
) -> Result<Result<Series, String>> {
    let image = policy::image::compile(plan, &[]).context("compile the image")?;
    let questions: Vec<Question> = openings.iter().map(|opening| question(&image, opening)).collect();
    let answers: Vec<RuleRow> = questions.iter().map(|question| classify(&image, question)).collect();
    for (opening, answer) in openings.iter().zip(&answers).take(JUDGED as usize) {
        let rule = rules::judge(plan, opening).rule;
        if rule != answer.rule {
            return Ok(Err(format!("of {opening:?} the rules say {rule}, the classifier {}", answer.rule)));
        }
    }
    for (asked, question) in harness.programs.questions.all().iter_mut().zip(&questions) {
        *asked = Asked {
            from: question.from,
            to: question.to,
            protocol: question.protocol,
            reserved: 0,
            device: question.device,
            port: question.port,
            source: question.source.half(),
            destination: question.destination.half(),
        };
    }
    let slot = harness.dataplane.active()?.generation & 1;
    let any = frame(Family::V4, &[], Segment::Udp);
    let Effort { rounds, repeat, .. } = effort;
    let (mut asking, mut reading) = (Series::default(), Series::default());
    let mut at = 0_u32;
    for round in 0..=rounds {
        for (side, series) in [(Side::AskNothing, &mut reading), (Side::Ask, &mut asking)] {
            harness.programs.control(Control { cursor: at, slot, ..Control::default() })?;
            let before = harness.programs.answers()?;
            let (took, _) = harness.programs.run(side, Family::V4, &any, repeat)?;
            let given = harness.programs.answers()?.wrapping_sub(before);
            if side == Side::Ask && given != sum(&answers, at, repeat) {
                return Ok(Err("the kernel answers otherwise than the host".into()));
            }
            // The first round is to warm up.
            if round > 0 {
                series.push(took);
            }
        }
        at = at.wrapping_add(repeat) & (KEYS - 1);
    }
    Ok(Ok(asking.above(reading.median(), reading.min())))
}

fn sum(answers: &[RuleRow], first: u32, count: u32) -> u64 {
    let of = |number: u32| answers[((first + number) & (KEYS - 1)) as usize].word();
    (0..count).fold(0, |sum, number| sum.wrapping_add(of(number)))
}

fn question(image: &Image, opening: &Opening) -> Question {
    let (source, destination) =
        (address(image, &mapped(opening.source)), address(image, &mapped(opening.destination)));
    Question {
        from: WAN,
        to: destination.zone,
        device: device(image, &[2, 0, 0, 0, 0, 2]),
        protocol: 6,
        port: opening.port,
        source: source.source,
        destination: destination.destination,
    }
}

/// An address as the kernel has it.
pub(crate) fn mapped(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => abi::mapped(address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}
