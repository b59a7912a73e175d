//! All filters and scenarios, built-in and own.

use std::sync::Arc;

use crate::definition::Compile;
use crate::error::FilterError;
use crate::{Filter, Scenario, definition, limits};

macro_rules! builtin {
    ($($name:literal)+) => {
        [$((concat!("builtin/", $name, ".toml"), include_str!(concat!("builtin/", $name, ".toml")))),+]
    };
}

/// The built-in files, in the order in which they are read: scenarios for several filters last.
const BUILTIN: [(&str, &str); 23] = builtin! {
    "sshd" "nginx" "traefik" "haproxy" "harbor" "authentik" "gitlab" "grafana"
    "home_assistant" "jellyfin" "nextcloud" "overseerr" "servarr" "syncthing" "vaultwarden" "postfix"
    "dovecot" "mosquitto" "postgresql" "samba" "secd" "http" "logins"
};

/// Filters and scenarios by name.
#[derive(Clone, Debug, Default)]
pub struct Library {
    filters: Vec<Arc<Filter>>,
    scenarios: Vec<Arc<Scenario>>,
}

impl Library {
    /// Nothing in it.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// What comes with the program. Regexes are compiled when an engine first uses a filter.
    #[must_use]
    pub fn builtin() -> Self {
        let mut library = Self::empty();
        for (file, text) in BUILTIN {
            let added = library.read(file, text, Compile::OnUse);
            debug_assert!(added.is_ok(), "{added:?}");
        }
        library
    }

    /// The text of the built-in files, as examples.
    pub fn builtin_files() -> impl Iterator<Item = (&'static str, &'static str)> {
        BUILTIN.into_iter()
    }

    /// Reads a file of filters and scenarios. A filter or scenario with the name of a former one takes its place (that
    /// is how a built-in one is changed). With any mistake nothing of the file is taken.
    ///
    /// # Errors
    /// All mistakes of the file.
    pub fn add(&mut self, file_name: &str, text: &str) -> Result<(), Vec<FilterError>> {
        self.read(file_name, text, Compile::Now)
    }

    fn read(&mut self, file_name: &str, text: &str, compile: Compile) -> Result<(), Vec<FilterError>> {
        let definitions = definition::read(file_name, text, compile, |name| self.filter(name))?;
        let fits = self.filters.len() < limits::MAX_FILTERS
            && self.scenarios.len() + definitions.scenarios.len() <= limits::MAX_SCENARIOS;
        if !fits {
            return Err(vec![FilterError {
                file: file_name.to_owned(),
                line: 1,
                column: None,
                message: format!(
                    "more than {} filters or {} scenarios",
                    limits::MAX_FILTERS,
                    limits::MAX_SCENARIOS
                ),
                help: "remove the ones no log uses".to_owned(),
            }]);
        }
        if let Some(filter) = definitions.filter {
            self.filters.retain(|known| known.name != filter.name);
            self.filters.push(Arc::new(filter));
        }
        for scenario in definitions.scenarios {
            self.scenarios.retain(|known| known.name != scenario.name);
            self.scenarios.push(Arc::new(scenario));
        }
        Ok(())
    }

    /// The filter of this name.
    #[must_use]
    pub fn filter(&self, name: &str) -> Option<&Filter> {
        self.filters.iter().find(|filter| filter.name == name).map(|filter| &**filter)
    }

    /// All filters, in the order in which they were read.
    pub fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.filters.iter().map(|filter| &**filter)
    }

    /// All scenarios, in the order in which they were read.
    pub fn scenarios(&self) -> impl Iterator<Item = &Scenario> {
        self.scenarios.iter().map(|scenario| &**scenario)
    }

    pub(crate) fn shared_filter(&self, name: &str) -> Option<Arc<Filter>> {
        self.filters.iter().find(|filter| filter.name == name).cloned()
    }

    pub(crate) fn shared_scenarios(&self) -> impl Iterator<Item = &Arc<Scenario>> {
        self.scenarios.iter()
    }
}
