//! DNS cookies (RFC 7873) in the interoperable form (RFC 9018): a client that shows the cookie it got is where it says
//! it is.

use model::Timestamp;
use siphasher::sip::SipHasher24;
use std::{hash::Hasher, net::IpAddr};

/// Bytes of a client's cookie.
pub(crate) const CLIENT_COOKIE: usize = 8;
/// Bytes of a server's cookie.
pub(crate) const SERVER_COOKIE: usize = 16;
/// Seconds a secret is used; cookies of the one before still hold.
const SECRET_LIFE: u32 = 86_400;
/// Seconds a cookie holds (RFC 9018 §4.3).
const MAX_AGE: u32 = 3600;
/// Seconds by which clocks may differ (RFC 9018 §4.3).
const MAX_AHEAD: u32 = 300;
const VERSION: u8 = 1;

/// The secret that all cookies are made with. Which of its daily secrets made one follows from the cookie's own date,
/// so nothing has to be kept or rolled over.
#[derive(Clone)]
pub(crate) struct Secret([u8; 16]);

impl Secret {
    /// From chance.
    pub(crate) const fn new(chance: [u8; 16]) -> Self {
        Self(chance)
    }

    /// The cookie for a client now.
    pub(crate) fn cookie(
        &self,
        client: [u8; CLIENT_COOKIE],
        address: IpAddr,
        date: Timestamp,
    ) -> [u8; SERVER_COOKIE] {
        self.made(client, address, seconds(date))
    }

    /// Whether a client shows a cookie that was made for it within the hour.
    pub(crate) fn is_valid(
        &self,
        client: [u8; CLIENT_COOKIE],
        server: [u8; SERVER_COOKIE],
        address: IpAddr,
        date: Timestamp,
    ) -> bool {
        let made = u32::from_be_bytes([server[4], server[5], server[6], server[7]]);
        // Serial numbers: the difference counts (RFC 1982).
        let age = seconds(date).wrapping_sub(made);
        let fresh = age <= MAX_AGE || age.wrapping_neg() <= MAX_AHEAD;
        let expected = self.made(client, address, made);
        // All bytes are compared, whatever the first ones are.
        fresh && expected.iter().zip(server).fold(0, |sum, (ours, theirs)| sum | (ours ^ theirs)) == 0
    }

    fn made(&self, client: [u8; CLIENT_COOKIE], address: IpAddr, at: u32) -> [u8; SERVER_COOKIE] {
        let mut cookie = [0; SERVER_COOKIE];
        cookie[0] = VERSION;
        cookie[4..8].copy_from_slice(&at.to_be_bytes());
        let mut hasher = SipHasher24::new_with_key(&self.of_day(at / SECRET_LIFE));
        hasher.write(&client);
        hasher.write(&cookie[..8]);
        match address {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        cookie[8..].copy_from_slice(&hasher.finish().to_le_bytes());
        cookie
    }

    fn of_day(&self, day: u32) -> [u8; 16] {
        let half = |which: u8| {
            let mut hasher = SipHasher24::new_with_key(&self.0);
            hasher.write(&day.to_be_bytes());
            hasher.write_u8(which);
            hasher.finish().to_le_bytes()
        };
        let mut secret = [0; 16];
        secret[..8].copy_from_slice(&half(0));
        secret[8..].copy_from_slice(&half(1));
        secret
    }
}

fn seconds(date: Timestamp) -> u32 {
    // Serial numbers wrap.
    u32::try_from((date.0 / 1_000_000).rem_euclid(1 << 32)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    #[test]
    fn cookies_hold_for_their_client_and_an_hour() {
        let secret = Secret::new([7; 16]);
        let (here, there): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let start = 1_800_000_000;
        let cookie = secret.cookie([1; 8], here, at(start));
        assert_eq!((cookie[0], &cookie[4..8]), (1, &1_800_000_000_u32.to_be_bytes()[..]));
        let valid = |client, cookie, address, now| secret.is_valid([client; 8], cookie, address, at(now));
        assert!(valid(1, cookie, here, start) && valid(1, cookie, here, start + 3600));
        assert!(valid(1, cookie, here, start - 300), "clocks that differ a little");
        assert!(!valid(1, cookie, here, start + 3601) && !valid(1, cookie, here, start - 301));
        assert!(!valid(2, cookie, here, start) && !valid(1, cookie, there, start));
        for byte in 0..SERVER_COOKIE {
            let mut forged = cookie;
            forged[byte] ^= 1;
            assert!(!valid(1, forged, here, start), "byte {byte}");
        }
        assert!(!Secret::new([8; 16]).is_valid([1; 8], cookie, here, at(start)));
    }

    #[test]
    fn secrets_change_daily_and_the_one_before_still_holds() {
        let secret = Secret::new([7; 16]);
        assert_ne!(secret.of_day(1), secret.of_day(2));
        let midnight = 86_400 * 20_000;
        let here = IpAddr::from([192, 0, 2, 1]);
        let cookie = secret.cookie([1; 8], here, at(midnight - 1));
        assert!(secret.is_valid([1; 8], cookie, here, at(midnight + 60)));
    }
}
