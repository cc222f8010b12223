"""What a reload says about itself."""

from __future__ import annotations

from coe.config import changes, loads

OLD = """
server: {max_body_mb: 20, admin_key: "old-admin-secret-1"}
experts:
  a: {kind: openai, base_url: "http://x/v1", model: m, api_key: "${KEY}", card: {domains: [math]}}
  b: {kind: echo}
routers: {auto: {kind: first}}
"""


def changed(old: str, new: str, **environ: str) -> list[str]:
    return changes(
        loads(OLD, {"KEY": "sk-first"}), loads(OLD.replace(old, new), {"KEY": "sk-first", **environ})
    )


def test_the_same_text_has_no_changes() -> None:
    assert changed("", "") == []


def test_own_keys_are_shown_and_settings_of_plugins_only_named() -> None:
    assert changed("max_body_mb: 20", "max_body_mb: 40") == ["server.max_body_mb: 20.0 → 40.0"]
    assert changed("[math]", "[math, coding]") == ["experts.a.card.domains: [math] → [math, coding]"]
    assert changed("http://x/v1", "http://y:pass@x/v1") == ["experts.a.base_url: changed"]


def test_experts_come_and_go_by_key() -> None:
    assert changed("  b: {kind: echo}\n", "  c: {kind: echo, prefix: p}\n") == [
        "experts.b: removed",
        "experts.c: added",
    ]


def test_no_secret_is_shown() -> None:
    lines = [
        *changed("old-admin-secret-1", "new-admin-secret-2"),
        *changed("", "", KEY="sk-second"),
        *changed("${KEY}", "sk-literal"),
    ]
    assert lines == ["server.admin_key: changed", "experts.a.api_key: changed", "experts.a.api_key: changed"]
