//! Who is let in: passwords, tries, sessions. Pure: time and chance are inputs.

use base64::{Engine, engine::general_purpose::STANDARD};
use httpd::{Tries, TryLimits};
use model::Timestamp;
use std::net::IpAddr;

use crate::limits::{
    LOGIN_PAUSE, LOGIN_TRIES, MAX_LOGIN_SOURCES, MAX_PASSWORD, MAX_PASSWORDS, MAX_SESSIONS, MAX_USER_AGENT,
    SESSION_LIFE,
};

/// What lets somebody in: the person's own password, and those of apps.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Passwords(Vec<Password>);

type Password = ([u8; MAX_PASSWORD], usize);

impl Passwords {
    /// One a line; empty lines and spaces around are none of them. The first is the person's own.
    ///
    /// # Errors
    /// There is none, there are too many, or one is too long.
    pub fn read(text: &str) -> Result<Self, String> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines.len() {
            0 => return Err("holds no password".into()),
            more if more > MAX_PASSWORDS => {
                return Err(format!("holds {more} passwords, at most {MAX_PASSWORDS} are taken"));
            }
            _ => {}
        }
        let padded =
            |line: &&str| padded(line).ok_or(format!("has a password of more than {MAX_PASSWORD} bytes"));
        Ok(Self(lines.iter().map(padded).collect::<Result<_, _>>()?))
    }

    /// Which password this is. Takes as long for a wrong one as for a right one.
    fn place(&self, tried: &str) -> Option<usize> {
        let (tried, length) = padded(tried)?;
        let mut found = None;
        for (place, (password, known)) in self.0.iter().enumerate() {
            if same(password, &tried) & (*known == length) {
                found = Some(place);
            }
        }
        found
    }
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passwords", self.0.len())
    }
}

fn padded(text: &str) -> Option<Password> {
    let mut password = [0; MAX_PASSWORD];
    password.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some((password, text.len()))
}

/// All bytes are compared, whatever the first ones are.
fn same(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |sum, (one, other)| std::hint::black_box(sum | (one ^ other)));
    one.len() == other.len() && differ == 0
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) sid: String,
    pub(crate) csrf: String,
    /// It was begun with the password of an app.
    pub(crate) app: bool,
    pub(crate) login_at: Timestamp,
    pub(crate) last_active: Timestamp,
    pub(crate) from: IpAddr,
    pub(crate) user_agent: String,
}

impl Session {
    pub(crate) fn valid_until(&self) -> Timestamp {
        self.last_active.plus(SESSION_LIFE)
    }

    /// A clock that was set back must not make it last.
    pub(crate) fn is_valid(&self, now: Timestamp) -> bool {
        self.last_active <= now && now < self.valid_until()
    }
}

/// What came of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// A session, by its place.
    Accepted(usize),
    /// The password is wrong.
    Wrong,
    /// Too many were wrong before.
    TooMany,
    /// There are [`MAX_SESSIONS`] sessions.
    NoSeat,
}

const TRIES: TryLimits = TryLimits { in_a_row: LOGIN_TRIES, pause: LOGIN_PAUSE, sources: MAX_LOGIN_SOURCES };

/// Everything about who is in.
pub(crate) struct Gate {
    passwords: Passwords,
    sessions: [Option<Session>; MAX_SESSIONS],
    tries: Tries,
}

impl Default for Gate {
    fn default() -> Self {
        Self { passwords: Passwords::default(), sessions: Default::default(), tries: Tries::new(TRIES) }
    }
}

impl Gate {
    /// Takes other passwords; who came in by the former ones has to come again.
    pub(crate) fn set_passwords(&mut self, passwords: Passwords) {
        if passwords != self.passwords {
            self.sessions = Default::default();
            self.passwords = passwords;
        }
    }

    /// Begins a session, `chance` being its secrets.
    pub(crate) fn login(
        &mut self,
        password: &str,
        (from, user_agent): (IpAddr, &str),
        now: Timestamp,
        chance: [[u8; 16]; 2],
    ) -> Login {
        if !self.tries.may(from, now) {
            return Login::TooMany;
        }
        let Some(place) = self.passwords.place(password) else {
            self.tries.wrong(from, now);
            return Login::Wrong;
        };
        let is_free = |seat: &Option<Session>| seat.as_ref().is_none_or(|session| !session.is_valid(now));
        let Some(seat) = self.sessions.iter().position(is_free) else { return Login::NoSeat };
        let [sid, csrf] = chance.map(|bytes| STANDARD.encode(bytes));
        self.sessions[seat] = Some(Session {
            sid,
            csrf,
            app: place > 0,
            login_at: now,
            last_active: now,
            from,
            user_agent: user_agent.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT).collect(),
        });
        Login::Accepted(seat)
    }

    /// The session of an id, which is used now; `csrf`: its second secret, where that is asked for.
    pub(crate) fn enter(&mut self, sid: &str, csrf: Option<&str>, now: Timestamp) -> Option<usize> {
        let mut found = None;
        for (place, session) in self.sessions.iter().enumerate() {
            let Some(session) = session else { continue };
            if same(session.sid.as_bytes(), sid.as_bytes()) & session.is_valid(now) {
                found = Some(place);
            }
        }
        let place = found?;
        let session = self.sessions[place].as_mut()?;
        if csrf.is_some_and(|csrf| !same(session.csrf.as_bytes(), csrf.as_bytes())) {
            return None;
        }
        session.last_active = now;
        Some(place)
    }

    /// A session by its place.
    pub(crate) fn session(&self, place: usize) -> Option<&Session> {
        self.sessions.get(place)?.as_ref()
    }

    /// Sessions with their places.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = (usize, &Session)> {
        let sessions = self.sessions.iter().enumerate();
        sessions.filter_map(|(place, session)| Some((place, session.as_ref()?)))
    }

    /// Ends a session; whether there was one.
    pub(crate) fn end(&mut self, place: usize) -> bool {
        self.sessions.get_mut(place).is_some_and(|session| session.take().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::Ipv4Addr, time::Duration};

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 9));

    fn gate() -> Gate {
        let mut gate = Gate::default();
        gate.set_passwords(Passwords::read("  correct horse \n\nof an app\n").unwrap());
        gate
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_790_000_000 + seconds)
    }

    fn login(gate: &mut Gate, password: &str, from: IpAddr, seconds: i64, chance: u8) -> Login {
        gate.login(password, (from, "test"), at(seconds), [[chance; 16], [!chance; 16]])
    }

    #[test]
    fn a_password_is_the_whole_line_and_nothing_else() {
        let mut gate = gate();
        for wrong in ["", "correct", "correct horse ", "correct horse\0", "CORRECT HORSE", &"x".repeat(300)] {
            assert_eq!(login(&mut gate, wrong, HOST, 1000, 1), Login::Wrong, "{wrong:?}");
            gate.tries = Tries::new(TRIES);
        }
        assert_eq!(login(&mut gate, "correct horse", HOST, 0, 1), Login::Accepted(0));
        assert_eq!(login(&mut gate, "of an app", HOST, 0, 2), Login::Accepted(1));
        assert_eq!(gate.sessions().map(|(_, session)| session.app).collect::<Vec<_>>(), [false, true]);
        assert!(Passwords::read(" \n\n").is_err());
        assert!(Passwords::read(&"x".repeat(MAX_PASSWORD + 1)).is_err());
        assert!(Passwords::read(&"x\n".repeat(MAX_PASSWORDS + 1)).is_err());
        assert_eq!(format!("{:?}", gate.passwords), "2 passwords");
        // With none, nobody gets in.
        assert_eq!(login(&mut Gate::default(), "", HOST, 0, 1), Login::Wrong);
    }

    #[test]
    fn wrong_passwords_close_the_door_for_their_source_alone_and_for_a_time() {
        let mut gate = gate();
        for _ in 0..LOGIN_TRIES {
            assert_eq!(login(&mut gate, "guess", HOST, 0, 1), Login::Wrong);
        }
        assert_eq!(login(&mut gate, "correct horse", HOST, 0, 1), Login::TooMany);
        let other = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 10));
        assert_eq!(login(&mut gate, "correct horse", other, 0, 1), Login::Accepted(0));
        let pause = i64::try_from(LOGIN_PAUSE.as_secs()).unwrap();
        assert_eq!(login(&mut gate, "guess", HOST, pause, 1), Login::Wrong);
        assert_eq!(login(&mut gate, "guess", HOST, pause, 1), Login::TooMany);
        assert_eq!(login(&mut gate, "correct horse", HOST, 2 * pause, 2), Login::Accepted(1));
        // A clock that was years ahead when they were wrong.
        assert_eq!(login(&mut gate, "guess", HOST, 2 * pause, 1), Login::Wrong);
        assert_eq!(login(&mut gate, "guess", HOST, 2 * pause, 1), Login::TooMany);
        assert_eq!(login(&mut gate, "guess", HOST, -1_000_000, 1), Login::TooMany);
        assert_eq!(login(&mut gate, "correct horse", HOST, pause - 1_000_000, 3), Login::Accepted(0));
        // A host of IPv6 has many addresses.
        for place in 0..LOGIN_TRIES {
            let from = format!("fd00::{place:x}").parse().unwrap();
            assert_eq!(login(&mut gate, "guess", from, 0, 1), Login::Wrong);
        }
        assert_eq!(login(&mut gate, "correct horse", "fd00::ffff".parse().unwrap(), 0, 1), Login::TooMany);
    }

    #[test]
    fn a_full_table_of_tries_lets_nobody_new_try() {
        let mut gate = gate();
        for place in 0..MAX_LOGIN_SOURCES {
            let from = Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(place).unwrap()).into();
            assert_eq!(login(&mut gate, "guess", from, 0, 1), Login::Wrong);
        }
        let another = "10.9.9.9".parse().unwrap();
        assert_eq!(login(&mut gate, "correct horse", another, 0, 1), Login::TooMany);
        assert_eq!(login(&mut gate, "correct horse", another, 20, 1), Login::Accepted(0));
        assert!(gate.tries.is_empty());
    }

    #[test]
    fn sessions_end_by_disuse_and_there_are_so_many() {
        let mut gate = gate();
        for place in 0..MAX_SESSIONS {
            let chance = u8::try_from(place).unwrap();
            assert_eq!(login(&mut gate, "correct horse", HOST, 0, chance), Login::Accepted(place));
        }
        assert_eq!(login(&mut gate, "correct horse", HOST, 0, 99), Login::NoSeat);
        let life = i64::try_from(SESSION_LIFE.as_secs()).unwrap();
        let sid = gate.session(3).unwrap().sid.clone();
        assert_eq!(gate.enter(&sid, None, at(life - 1)), Some(3));
        assert_eq!(gate.enter(&sid, None, at(2 * life - 2)), Some(3), "use prolongs it");
        let other = gate.session(4).unwrap().sid.clone();
        assert_eq!(gate.enter(&other, None, at(life)), None);
        assert_eq!(gate.enter(&sid, None, at(-10)), None, "a clock set back ends it");
        assert_eq!(login(&mut gate, "correct horse", HOST, life, 99), Login::Accepted(0));
        assert!(gate.end(0) && !gate.end(0) && !gate.end(MAX_SESSIONS));
    }

    #[test]
    fn an_id_is_the_whole_id_and_a_cookie_needs_the_second_secret() {
        let mut gate = gate();
        login(&mut gate, "correct horse", HOST, 0, 7);
        let Session { sid, csrf, .. } = gate.session(0).unwrap().clone();
        assert_eq!(sid.len(), 24);
        for wrong in ["", &sid[..23], &format!("{sid}="), &csrf] {
            assert_eq!(gate.enter(wrong, None, at(0)), None, "{wrong}");
        }
        assert_eq!(gate.enter(&sid, Some(""), at(0)), None);
        assert_eq!(gate.enter(&sid, Some(&sid), at(0)), None);
        assert_eq!(gate.enter(&sid, Some(&csrf), at(0)), Some(0));
        gate.set_passwords(Passwords::read("correct horse\nof an app").unwrap());
        assert_eq!(gate.enter(&sid, None, at(0)), Some(0), "the same passwords");
        gate.set_passwords(Passwords::read("another").unwrap());
        assert_eq!(gate.enter(&sid, None, at(0)), None);
        assert!(at(0).plus(Duration::from_secs(1)) == at(1));
    }
}
