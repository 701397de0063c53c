"""Rate limits: how many requests, input tokens and output tokens a tenant may use a minute.

Apart from admission, which bounds what is under way at once. Requests and input tokens must be there beforehand; output
tokens are charged as they come, into debt if need be, and the debt is waited out before the next request.
"""

from collections.abc import Callable

from penstock_gateway.quotas.rate_account import RateAccount, Rates

# Above it, tenants that have used nothing for long and owe nothing are forgotten. Longer than any request takes, for
# those that are under way charge their tenant's account.
_MAX_IDLE_TENANTS = 1024
_IDLE_S = 3600.0


class RateLimiter:
    """Keeps the accounts of all tenants.

    Args:
        rates_of: what a tenant may use now.
        clock: monotonic seconds.
    """

    def __init__(self, rates_of: Callable[[str], Rates], clock: Callable[[], float]) -> None:
        self._rates_of = rates_of
        self._clock = clock
        self._accounts: dict[str, RateAccount] = {}

    def __repr__(self) -> str:
        return f"RateLimiter(tenants={len(self._accounts)})"

    def account(self, tenant: str) -> RateAccount:
        """The account of `tenant`, under the rates that hold now."""
        account = self._accounts.get(tenant)
        if account is None:
            if len(self._accounts) >= _MAX_IDLE_TENANTS:
                self._forget_idle()
            account = self._accounts[tenant] = RateAccount(self._clock)
        account.adopt(self._rates_of(tenant))
        return account

    def check_invariants(self) -> None:
        """Every account's own."""
        for account in self._accounts.values():
            account.check_invariants()

    def _forget_idle(self) -> None:
        for tenant, account in list(self._accounts.items()):
            if account.is_idle(_IDLE_S):
                del self._accounts[tenant]
