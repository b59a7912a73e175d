//! The reflector of mDNS and SSDP: between which links it runs, as the config and the interfaces have it.

use config::Config;
use discovery::{Group, Link};
use reflector::{Device, Handle, Settings};
use std::sync::PoisonError;

use super::Appliance;
use crate::{machine::Machine, metrics::Page};

/// A running reflector and what it was started with.
pub(super) type Running = Option<(Settings, Handle)>;

impl Appliance {
    /// Starts, changes or ends the reflector, as the config and the interfaces say.
    pub(super) fn update_reflector(&self, config: &Config, machine: &Machine) {
        let wanted = settings(config, machine);
        let mut running = self.reflector.lock().unwrap_or_else(PoisonError::into_inner);
        let same = running
            .as_ref()
            .is_some_and(|(settings, handle)| *settings == wanted && handle.unopened().is_empty());
        if same {
            return;
        }
        *running = None;
        let mut trouble = None;
        if !wanted.groups.is_empty() {
            let handle = Handle::start(&wanted);
            if !handle.unopened().is_empty() {
                trouble = Some(format!("not every zone is reflected: {}", handle.unopened().join("; ")));
            }
            *running = Some((wanted, handle));
        }
        drop(running);
        self.trouble("mDNS", trouble);
    }

    pub(super) fn stop_reflector(&self) {
        *self.reflector.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Packets of the reflector, where there is one.
    pub(super) fn measure_reflector(&self, page: &mut Page) {
        let running = self.reflector.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, handle)) = running.as_ref() else { return };
        let (counts, unsent) = handle.counts();
        let dropped = counts.dropped.iter().map(|(why, count)| (why.name(), *count));
        let all = [("received", counts.received), ("sent", counts.sent), ("unsent", unsent)];
        let help = "Packets of mDNS and SSDP: received, sent, and what became of the others.";
        page.by_label(
            ("secd_reflector_packets_total", "counter", help),
            "what",
            all.into_iter().chain(dropped),
        );
    }
}

fn settings(config: &Config, machine: &Machine) -> Settings {
    let reflections = &config.dns.reflect;
    let named = |zone: &&policy::Zone| reflections.iter().any(|reflect| reflect.zones.contains(&zone.name));
    let zones: Vec<&policy::Zone> = config.policy.zones.iter().filter(named).collect();
    let device = |zone: &&policy::Zone| Device {
        name: zone.device.clone(),
        index: machine.interfaces.iter().find(|(_, name)| **name == zone.device).map(|(index, _)| *index),
        link: Link { zone: zone.name.as_str().into(), networks: zone.networks.clone() },
    };
    let group = |reflect: &config::Reflect| Group {
        links: (0..zones.len()).filter(|link| reflect.zones.contains(&zones[*link].name)).collect(),
        services: reflect.services.clone(),
        ssdp: reflect.ssdp,
    };
    if reflections.is_empty() {
        return Settings::default();
    }
    Settings {
        links: zones.iter().map(device).collect(),
        groups: reflections.iter().map(group).collect(),
        own: machine.addresses.iter().copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zones_that_are_named_have_sockets() {
        let zone = |name: &str, number: u8| {
            format!("[zones.{name}]\ninterface = \"{name}0\"\nnetworks = [\"10.{number}.0.0/24\"]\n")
        };
        let wan = "[zones.wan]\ninterface = \"wan0\"\nwan = true\n";
        let text = wan.to_owned()
            + &zone("home", 1)
            + &zone("iot", 2)
            + &zone("guest", 3)
            + "[[dns.reflect]]\nzones = [\"iot\", \"home\"]\nservices = [\"cast\", \"_ssh._tcp\"]\nssdp = true\n";
        let config = config::parse("secd.toml", &text).unwrap();
        let machine = Machine { interfaces: [(7, "home0".to_owned())].into(), ..Machine::default() };
        let settings = settings(&config, &machine);
        let links: Vec<_> =
            settings.links.iter().map(|device| (device.name.as_str(), device.index)).collect();
        assert_eq!(links, [("home0", Some(7)), ("iot0", None)]);
        assert_eq!(
            (settings.groups[0].links.as_slice(), settings.groups[0].services.len()),
            (&[0, 1][..], 3)
        );
        assert_eq!(super::settings(&config::parse("f", wan).unwrap(), &machine), Settings::default());
    }
}
