//! How lines come into somebody's hands, and stay there.

use hal_core::{Board, Instant, LineConfig, LineId};

use crate::agent::{Held, House};
use crate::lease::Leased;
use crate::port::Port;
use crate::pwm::fits as pwm_fits;
use crate::{Agent, Caller, Claim, Event, Grant, Holder, Lease, OnConflict, Refusal, Token};

impl<B: Board> Agent<B> {
    /// Makes the caller the holder of a line and configures it. Who holds it already has it reconfigured under a new
    /// token and on new terms; a signal goes on if the line is to stay as it is. A line that the agent restored, watches or
    /// keeps high is free to be claimed.
    ///
    /// A free line whose pin is led to the PWM block is claimed as it is by taking its channel, silent: so a lease can come
    /// first and the signal second.
    ///
    /// # Errors
    ///
    /// `UnknownLine`, `NotAllowed`; `LeaseOutOfRange`, `SafeStateRequired`, `PermanentNotAllowed`; `Held` by somebody
    /// else, `StealNotAllowed`; `Hardware`: if a line could be taken from its holder but not be configured, it is still
    /// theirs, in its safe state, or free if it carried PWM. `CarriesPwm` if the caller holds it and the PWM block drives
    /// it, which cannot do this; `SharedChannel`.
    pub fn claim(&mut self, now: Instant, caller: Caller<'_>, line: LineId, claim: Claim) -> Result<Grant, Refusal> {
        let Claim { config, lease, on_conflict } = claim;
        self.permitted(line)?;
        self.settle(now, line);
        let lease = self.terms(now, caller, line, lease)?;
        let robbed = self.make_way(now, caller, line, on_conflict)?;
        let grant = self.take(now, caller.holder, line, config, lease)?;
        if let Some(from) = robbed {
            self.events.push(Event::Stolen { line, from, by: caller.holder.clone() });
        }
        Ok(grant)
    }

    /// Renews the caller's lease on a line and does nothing else. Does no harm to a hold without a lease.
    ///
    /// # Errors
    ///
    /// `UnknownLine`, `NotAllowed`, `LeaseExpired`, `StaleToken`, `Held` by somebody else, `NotHeld`.
    pub fn keepalive(
        &mut self,
        now: Instant,
        caller: Caller<'_>,
        line: LineId,
        token: Option<Token>,
    ) -> Result<Grant, Refusal> {
        let held = self.held_by(now, caller, line, token)?.ok_or(Refusal::NotHeld { line })?;
        held.renew(now);
        Ok(held.grant(line))
    }

    /// What a holder has in hand of this line; `None` if they do not hold it. Renews nothing.
    pub fn grant(&self, holder: &Holder, line: LineId) -> Option<Grant> {
        let theirs = |held: &&Held<B::Line>| held.house.is_none() && held.overdue.is_none() && held.holder == *holder;
        self.held.get(&line).filter(theirs).map(|held| held.grant(line))
    }

    /// What a lease comes to on this line, if the caller may have it.
    fn terms(&self, now: Instant, caller: Caller<'_>, line: LineId, lease: Lease) -> Result<Option<Leased>, Refusal> {
        let declared = self.policy.declared_safe(line).is_some();
        match lease {
            Lease::Permanent if declared && !caller.rights.permanent => Err(Refusal::PermanentNotAllowed { line }),
            Lease::Permanent => Ok(None),
            Lease::For { ttl, .. } if !Lease::RANGE.contains(&ttl) => Err(Refusal::LeaseOutOfRange { line, ttl }),
            Lease::For { safe: None, .. } if !declared => Err(Refusal::SafeStateRequired { line }),
            Lease::For { ttl, safe } => Ok(Some(Leased::new(now, ttl, safe))),
        }
    }

    /// Finds a line free for the caller, or makes it safe to be taken from its holder; answers from whom.
    fn make_way(
        &mut self,
        now: Instant,
        caller: Caller<'_>,
        line: LineId,
        on_conflict: OnConflict,
    ) -> Result<Option<Holder>, Refusal> {
        match self.held.get(&line) {
            Some(held) if held.overdue.is_some() => self.expire(now, line).map(|()| None),
            Some(held) if held.house.is_none() && held.holder != *caller.holder => {
                let holder = held.holder.clone();
                match on_conflict {
                    OnConflict::Fail => Err(held.conflict(now, line)),
                    OnConflict::Steal if !caller.rights.steal => Err(Refusal::StealNotAllowed { line, holder }),
                    OnConflict::Steal if held.port.is_pwm() => self.let_go(now, line).map(|()| Some(holder)),
                    OnConflict::Steal => self.leave(line).map(|()| Some(holder)),
                }
            }
            _ => Ok(None),
        }
    }

    /// Puts a line into somebody's hands. Nobody else is in the way any more.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        holder: &Holder,
        line: LineId,
        config: LineConfig,
        lease: Option<Leased>,
    ) -> Result<Grant, Refusal> {
        let token = self.token();
        let unfit = |held: &mut Held<B::Line>| held.house == Some(House::Level) && !pwm_fits(config);
        if self.held.get_mut(&line).is_some_and(unfit) {
            self.held.remove(&line);
        }
        if self.held.contains_key(&line) {
            self.set_up(line, config)?;
        } else {
            self.request(now, line, config, holder, token)?;
        }
        let held = self.held.get_mut(&line).ok_or(Refusal::NotHeld { line })?;
        held.hand_to(now, holder, token, lease);
        let grant = held.grant(line);
        self.expired.remove(&line);
        self.look_again(line);
        Ok(grant)
    }

    /// Claims a free line from the board, or from the PWM block if it is to stay as it is there.
    fn request(
        &mut self,
        now: Instant,
        line: LineId,
        config: LineConfig,
        holder: &Holder,
        token: Token,
    ) -> Result<(), Refusal> {
        let by_block = if config == LineConfig::as_is() { self.request_channel(now, line) } else { None };
        let port = by_block.unwrap_or_else(|| self.request_gpio(line, config, holder))?;
        self.held.insert(line, Held::new(now, port, config, holder.clone(), token));
        Ok(())
    }

    fn request_gpio(&mut self, line: LineId, config: LineConfig, holder: &Holder) -> Result<Port<B::Line>, Refusal> {
        let claimed = self.board.claim(line, self.on_board(line, config), holder.as_str());
        let claimed = claimed.map_err(|fault| Refusal::hardware(line, fault))?;
        self.used_as_gpio.insert(line);
        Ok(Port::Gpio(claimed))
    }

    /// Claims a line for the agent itself, until somebody asks for it.
    pub(crate) fn take_for_house(
        &mut self,
        now: Instant,
        house: House,
        line: LineId,
        config: LineConfig,
    ) -> Result<(), Refusal> {
        let token = self.token();
        self.request(now, line, config, &house.holder(), token)?;
        if let Some(held) = self.held.get_mut(&line) {
            held.house = Some(house);
        }
        Ok(())
    }

    /// For how long a bare write borrows a line that is not declared to matter, and one that is.
    pub(crate) fn bare_lease(&self, now: Instant, line: LineId) -> Option<Leased> {
        self.policy.declared_safe(line).map(|_| Leased::new(now, self.policy.default_lease(), None))
    }

    pub(crate) fn renew(&mut self, now: Instant, line: LineId) {
        if let Some(held) = self.held.get_mut(&line) {
            held.renew(now);
        }
    }

    fn token(&mut self) -> Token {
        let token = Token(self.next_token);
        self.next_token = self.next_token.saturating_add(1);
        token
    }
}

impl House {
    /// The name under which the agent holds lines for this.
    pub(crate) fn holder(self) -> Holder {
        match self {
            Self::Restore => Holder::house("agent/restore"),
            Self::Watch => Holder::house("watch"),
            Self::Level => Holder::house("agent/safe"),
        }
    }
}

impl<L> Held<L> {
    fn new(now: Instant, port: Port<L>, wanted: LineConfig, holder: Holder, token: Token) -> Self {
        let (house, lease, overdue, pulse, soft) = (None, None, None, None, None);
        Self { port, holder, house, since: now, token, lease, overdue, pulse, soft, wanted }
    }

    fn hand_to(&mut self, now: Instant, holder: &Holder, token: Token, lease: Option<Leased>) {
        if self.house.take().is_some() || self.holder != *holder {
            self.since = now;
            self.holder = holder.clone();
        }
        self.token = token;
        self.lease = lease;
    }

    pub(crate) fn renew(&mut self, now: Instant) {
        if let Some(lease) = &mut self.lease {
            lease.renew(now);
        }
    }

    pub(crate) fn grant(&self, line: LineId) -> Grant {
        Grant { line, token: self.token, expires: self.lease.map(|lease| lease.expires) }
    }
}
