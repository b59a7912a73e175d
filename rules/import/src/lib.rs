//! What Pi-hole and AdGuard Home were told, as secd's config: bytes of their files in, text for `secd.toml`, files of
//! own rules and a report out.
//!
//! Reading goes in three steps. The program's own files become rows and trees ([`Files`], [`Gravity`], a YAML tree)
//! within the limits of [`limits`]; these become [`Settings`], which know neither program; the settings are written as
//! config text, alone ([`Import::fragment`]) or into the text of a config that is there ([`Import::merge`]). Everything
//! that was asked of the old program ends up in the [`Report`]: taken over, translated and how, or not taken and why. An
//! error means that nothing was read, so that nothing is half taken over.

mod adguard;
mod archive;
mod error;
mod gravity;
mod merge;
mod names;
mod own;
mod pihole;
mod report;
mod reverse;
mod settings;
mod tidy;
mod write;
mod yaml;

pub mod limits;

pub use adguard::adguard;
pub use archive::Files;
pub use error::ImportError;
pub use gravity::Gravity;
pub use merge::MergeError;
pub use pihole::pihole;
pub use report::{Left, Report, Taken, Translated};
pub use settings::{OwnList, Settings};

/// What was read, and what is to say about it.
#[derive(Clone, Debug)]
pub struct Import {
    /// The settings, in secd's words.
    pub settings: Settings,
    /// What became of everything.
    pub report: Report,
}
