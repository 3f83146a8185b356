//! What a server must be like to take part: able to execute what the others execute, and with the settings that decide over results as they have them.
//!
//! A server that was restarted has lost what SET GLOBAL had told it, and is told again when it comes back. At a first start nobody knows which server's
//! settings are meant, so they must be the same.

use crate::group::Group;
use crate::io::{BackendId, Clock, Examination, LegError, MACHINE_ZONE, Servers, Setting, World};
use crate::rejoin::Setback;
use crate::settings::UnequalSettings;
use std::sync::PoisonError;
use std::time::Duration;

/// Attempts to look at a server that has just answered.
const MOST_LOOKS: usize = 10;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(100);

impl<W: World> Group<W> {
    /// Looks at a server before it takes part. Fails with what stands in its way, and what would be right.
    pub(crate) async fn examine(&self, id: BackendId) -> Result<Examination, LegError> {
        let found = match self.world.servers().examine(id).await {
            Err(LegError::Unsuitable(reason)) if self.settings.unequal_settings == UnequalSettings::Warn => {
                tracing::warn!(
                    backend = self.name(id),
                    reason,
                    "the server does not say what it is like"
                );
                Examination::default()
            }
            found => found?,
        };
        match self.world.servers().warnings(id).await {
            Ok(warnings) => self.say_once(id, warnings),
            // They decide over nothing.
            Err(error) => tracing::debug!(backend = self.name(id), %error, "the server's tables were not looked at"),
        }
        match self.settings.unequal_settings {
            UnequalSettings::Align if !found.obstacles.is_empty() => {
                Err(LegError::Unsuitable(found.obstacles.join("; ")))
            }
            _ => Ok(found),
        }
    }

    /// A server is looked at whenever it is tried again; what is known of it is not said again.
    fn say_once(&self, id: BackendId, warnings: Vec<String>) {
        let mut said = self.member(id).warnings.lock().unwrap_or_else(PoisonError::into_inner);
        for warning in warnings.iter().filter(|warning| !said.contains(warning)) {
            tracing::warn!(backend = self.name(id), "{warning}");
        }
        *said = warnings;
    }

    /// Gives a server that comes back the settings that the lead has. Gives the lead, if there is one. Fails if it cannot be given a setting.
    pub(crate) async fn align(&self, id: BackendId) -> Result<Option<BackendId>, Setback> {
        let lead = self.view().lead;
        if !self.is_online(lead) {
            return Ok(None);
        }
        if lead == id {
            // The last server, which must only be brought to the log's end: the others are given its settings.
            return Ok(Some(lead));
        }
        let here = self.world.servers().examine(id).await?;
        let there = self.world.servers().examine(lead).await?;
        self.align_with(id, &here, lead, &there).await?;
        Ok(Some(lead))
    }

    async fn align_with(
        &self,
        id: BackendId,
        here: &Examination,
        lead: BackendId,
        there: &Examination,
    ) -> Result<(), Setback> {
        for (setting, wanted) in differences(here, there) {
            let Setting {
                name,
                value,
                is_changeable,
            } = setting;
            let difference = format!("{name} is {value:?} there, and {wanted:?} on {}", self.name(lead));
            if self.settings.unequal_settings == UnequalSettings::Warn {
                tracing::warn!(backend = self.name(id), difference, "settings are not the same");
                continue;
            }
            if !is_changeable {
                return Err(Setback::Later(format!(
                    "{difference}: change its configuration and start it again"
                )));
            }
            match self.world.servers().adjust(id, name, wanted).await {
                Ok(()) => tracing::warn!(backend = self.name(id), difference, "the setting was changed"),
                Err(LegError::Unsuitable(refusal)) => return Err(Setback::Later(format!("{difference}: {refusal}"))),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Every server would execute events by itself, each at its own time.
    pub(crate) async fn stop_scheduler(&self, id: BackendId, found: &Examination) -> Result<(), Setback> {
        if !found.scheduler_is_on || self.settings.unequal_settings == UnequalSettings::Warn {
            return Ok(());
        }
        match self.world.servers().adjust(id, "event_scheduler", "OFF").await {
            Ok(()) => {
                tracing::info!(
                    backend = self.name(id),
                    events = found.events.join(", "),
                    "the event scheduler was switched off: every server would execute events by itself"
                );
                Ok(())
            }
            Err(LegError::Unsuitable(refusal)) => Err(Setback::Later(format!(
                "the event scheduler is on, and every server would execute events by itself: {refusal}"
            ))),
            Err(error) => Err(error.into()),
        }
    }

    /// A connection may break.
    async fn examine_in_patience(&self, id: BackendId) -> Result<Examination, LegError> {
        for _ in 0..MOST_LOOKS {
            match self.examine(id).await {
                Err(LegError::Lost(_) | LegError::Timeout(_)) => self.world.clock().sleep(PAUSE).await,
                found => return found,
            }
        }
        self.examine(id).await
    }

    /// Looks at servers that begin together. Fails with everything that is to be changed.
    pub(crate) async fn examine_all(&self, ids: &[BackendId]) -> Result<(), LegError> {
        let examinations = ids
            .iter()
            .map(|&id| async move { (id, self.examine_in_patience(id).await) });
        let mut wrong = Vec::new();
        let mut found = Vec::new();
        for (id, examination) in futures_util::future::join_all(examinations).await {
            match examination {
                Ok(examination) => found.push((id, examination)),
                Err(LegError::Unsuitable(obstacles)) => wrong.push(format!("{}: {obstacles}", self.name(id))),
                // Nobody knows what it is like.
                Err(error) => return Err(error),
            }
        }
        if let Some(((first, wanted), others)) = found.split_first() {
            for (id, examination) in others {
                let name = self.name(*id);
                wrong.extend(differences(examination, wanted).map(|(setting, wanted)| {
                    let Setting {
                        name: setting,
                        value,
                        is_changeable,
                    } = setting;
                    let remedy = match is_changeable {
                        true => format!("SET GLOBAL {setting} on one of them"),
                        false => "change the configuration of one of them".to_owned(),
                    };
                    format!(
                        "{setting} is {wanted:?} on {}, and {value:?} on {name}: {remedy}",
                        self.name(*first)
                    )
                }));
            }
        }
        if self.settings.unequal_settings == UnequalSettings::Warn {
            wrong.iter().for_each(|wrong| tracing::warn!("{wrong}"));
            return Ok(());
        }
        for (id, examination) in &found {
            if let (true, Some(event)) = (examination.scheduler_is_on, examination.events.first()) {
                wrong.push(format!(
                    "{}: the event scheduler is on, and every server would execute the event {event} by itself: SET GLOBAL event_scheduler=OFF",
                    self.name(*id)
                ));
            }
        }
        if !wrong.is_empty() {
            return Err(LegError::Unsuitable(format!(
                "{}. Or set writes.unequal_settings to warn, if you know better",
                wrong.join("; ")
            )));
        }
        for (id, examination) in &found {
            if let Err(setback) = self.stop_scheduler(*id, examination).await {
                tracing::warn!(backend = self.name(*id), %setback, "the event scheduler stays on");
            }
        }
        Ok(())
    }
}

/// Settings of the first that the second has with another value, and that value. Kinds that word their settings differently have none.
fn differences<'a>(here: &'a Examination, there: &'a Examination) -> impl Iterator<Item = (&'a Setting, &'a str)> {
    let is_same_kind = here.is_mariadb == there.is_mariadb;
    let comparable = here.settings.iter().filter(move |_| is_same_kind);
    // The machine's time zone counts only where the server uses it.
    let counts = |setting: &Setting| setting.name != MACHINE_ZONE || there.value("time_zone") == Some("SYSTEM");
    comparable.filter(move |setting| counts(setting)).filter_map(|setting| {
        let wanted = there.value(&setting.name)?;
        (!is_same(wanted, &setting.value)).then_some((setting, wanted))
    })
}

/// Versions differ in what they call the character set with up to three bytes.
fn is_same(one: &str, other: &str) -> bool {
    one == other || one.replace("utf8mb3", "utf8") == other.replace("utf8mb3", "utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examination(settings: &[(&str, &str)]) -> Examination {
        let setting = |(name, value): &(&str, &str)| Setting {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
            is_changeable: true,
        };
        Examination {
            settings: settings.iter().map(setting).collect(),
            ..Examination::default()
        }
    }

    #[test]
    fn only_what_both_have_can_differ() {
        let here = examination(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let there = examination(&[("b", "5"), ("c", "3"), ("d", "4")]);
        assert_eq!(
            differences(&here, &there).collect::<Vec<_>>(),
            [(&here.settings[1], "5")]
        );
        let zoned = |zone, time_zone| examination(&[(MACHINE_ZONE, zone), ("time_zone", time_zone)]);
        assert_eq!(differences(&zoned("CET", "+00:00"), &zoned("UTC", "+00:00")).count(), 0);
        assert_eq!(differences(&zoned("CET", "SYSTEM"), &zoned("UTC", "SYSTEM")).count(), 1);
        let mariadb = Examination {
            is_mariadb: true,
            ..there
        };
        assert_eq!(differences(&here, &mariadb).count(), 0);
    }
}
