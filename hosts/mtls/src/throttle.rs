//! How often one address may connect.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::Limits;

/// Addresses that are remembered, 24 bytes each; when they are more, the newcomers share one account.
const ADDRESSES: usize = 8192;

/// A generic cell rate algorithm (ITU-T I.371): of each address nothing is kept but the time until which its connections are
/// paid for, and that only as long as it is in the future.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// What one connection costs; zero if there is no limit.
    cost: Duration,
    /// How far ahead an address may have paid.
    ahead: Duration,
    unthrottled: Vec<IpAddr>,
    accounts: Mutex<Accounts>,
}

#[derive(Debug, Default)]
struct Accounts {
    paid_until: HashMap<IpAddr, Instant>,
    /// When those that have nothing paid ahead were last forgotten.
    swept: Option<Instant>,
}

impl Throttle {
    pub(crate) fn new(limits: &Limits) -> Self {
        let cost = Duration::from_secs(1).checked_div(limits.connections_per_second).unwrap_or_default();
        let ahead = cost * limits.burst.max(1);
        Self { cost, ahead, unthrottled: limits.unthrottled.clone(), accounts: Mutex::default() }
    }

    /// Whether one more connection may come from `address` now; if so, it is charged.
    pub(crate) fn allows(&self, address: IpAddr, now: Instant) -> bool {
        self.pay(address, now, |until, cost, most| (until + cost <= most).then_some(until + cost))
    }

    /// Charges for a connection that came to nothing: trying again costs twice as much.
    pub(crate) fn charge(&self, address: IpAddr, now: Instant) {
        self.pay(address, now, |until, cost, _| Some(until + cost));
    }

    fn pay(
        &self,
        address: IpAddr,
        now: Instant,
        next: impl FnOnce(Instant, Duration, Instant) -> Option<Instant>,
    ) -> bool {
        let address = address.to_canonical();
        if self.cost.is_zero() || self.unthrottled.contains(&address) {
            return true;
        }
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.of(address, now);
        let until = accounts.paid_until.get(&account).copied().unwrap_or(now).max(now);
        let paid = next(until, self.cost, now + self.ahead);
        if let Some(until) = paid {
            accounts.paid_until.insert(account, until);
        }
        paid.is_some()
    }
}

impl Accounts {
    /// The key of an address: whoever has an IPv6 address has its whole /64.
    fn of(&mut self, address: IpAddr, now: Instant) -> IpAddr {
        let account = match address {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
            v4 => v4,
        };
        if self.paid_until.contains_key(&account) || self.has_room(now) {
            return account;
        }
        Ipv4Addr::UNSPECIFIED.into() // nobody connects from it
    }

    /// Sweeps if need be, but not for each connection.
    fn has_room(&mut self, now: Instant) -> bool {
        const SWEEP: Duration = Duration::from_secs(1);
        if self.paid_until.len() >= ADDRESSES && self.swept.is_none_or(|swept| now >= swept + SWEEP) {
            self.paid_until.retain(|_, until| *until > now);
            self.swept = Some(now);
        }
        self.paid_until.len() < ADDRESSES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn throttle(connections_per_second: u32, burst: u32) -> Throttle {
        Throttle::new(&Limits { connections_per_second, burst, ..Limits::default() })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn allowed(throttle: &Throttle, from: &str, now: Instant) -> usize {
        (0..1000).filter(|_| throttle.allows(address(from), now)).count()
    }

    #[test]
    fn a_burst_passes_and_then_so_many_a_second_and_others_are_not_concerned() {
        let (throttle, now) = (throttle(10, 50), Instant::now());
        assert_eq!(allowed(&throttle, "192.0.2.1", now), 50);
        assert_eq!(allowed(&throttle, "192.0.2.1", now + SECOND), 10);
        assert_eq!(allowed(&throttle, "192.0.2.2", now + SECOND), 50);
        assert_eq!(allowed(&throttle, "192.0.2.1", now + 60 * SECOND), 50, "no more is saved up");
    }

    #[test]
    fn who_fails_may_try_half_as_often() {
        let (throttle, now) = (throttle(10, 50), Instant::now());
        allowed(&throttle, "192.0.2.1", now);
        let tries = (1..=200).filter(|step| {
            let now = now + *step * SECOND / 20;
            let allowed = throttle.allows(address("192.0.2.1"), now);
            if allowed {
                throttle.charge(address("192.0.2.1"), now);
            }
            allowed
        });
        assert!((49..=51).contains(&tries.count()), "in ten seconds");
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_so_is_an_ipv4_address_however_it_is_written() {
        let (throttle, now) = (throttle(10, 50), Instant::now());
        assert_eq!(allowed(&throttle, "2001:db8::1", now), 50);
        assert_eq!(allowed(&throttle, "2001:db8::ffff:2", now), 0);
        assert_eq!(allowed(&throttle, "2001:db8:0:1::1", now), 50);
        assert_eq!(allowed(&throttle, "192.0.2.1", now), 50);
        assert_eq!(allowed(&throttle, "::ffff:192.0.2.1", now), 0);
        assert_eq!(allowed(&throttle, "::ffff:127.0.0.1", now), 1000, "unthrottled");
    }

    #[test]
    fn no_limit_is_no_limit() {
        assert_eq!(allowed(&throttle(0, 0), "192.0.2.1", Instant::now()), 1000);
    }

    #[test]
    fn many_addresses_take_little_memory_and_lock_nobody_out_for_long() {
        let (throttle, now) = (throttle(10, 50), Instant::now());
        for number in 0..100_000_u32 {
            throttle.allows(Ipv4Addr::from_bits(0x0a00_0000 + number).into(), now);
        }
        assert!(throttle.accounts.lock().unwrap().paid_until.len() <= ADDRESSES + 1);
        assert_eq!(allowed(&throttle, "192.0.2.1", now), 0, "the common account is used up");
        assert_eq!(allowed(&throttle, "192.0.2.1", now + SECOND), 50, "those who came once are forgotten");
    }
}
