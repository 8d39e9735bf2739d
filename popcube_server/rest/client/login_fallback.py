"""Specification, login fallback: a page that logs in for a client that does not know the ways in.

It calls `window.onLogin` with the answer of /login. What stands in the page's query goes into the request, as far as
it is no credential.
"""

from popcube_server.rest.endpoint import Access, Answer, Call, endpoint

_SCRIPT = """
const form = document.querySelector("form");
const problem = document.querySelector("[role=alert]");
form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.textContent = "";
    const body = {};
    for (const [name, value] of new URLSearchParams(location.search)) {
        if (["device_id", "initial_device_display_name"].includes(name)) body[name] = value;
        if (name === "refresh_token") body[name] = value === "true";
    }
    body.type = "m.login.password";
    body.identifier = {type: "m.id.user", user: form.user.value};
    body.password = form.password.value;
    try {
        const response = await fetch("/_matrix/client/v3/login", {method: "POST", body: JSON.stringify(body)});
        const answer = await response.json();
        if (!response.ok) {
            problem.textContent = answer.error;
        } else if (window.onLogin) {
            window.onLogin(answer);
        } else if (window.matrixLogin && window.matrixLogin.onLogin) {
            window.matrixLogin.onLogin(answer);
        } else {
            problem.textContent = "You are logged in, but the app that opened this page does not listen.";
        }
    } catch (error) {
        problem.textContent = "The server does not answer.";
    }
});
"""

_PAGE = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Log in</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px sans-serif;max-width:30em;margin:3em auto;padding:0 1em}}</style></head>
<body><h1>Log in</h1><p role="alert"></p>
<form><p><label>User name <input name="user" autocomplete="username" required></label></p>
<p><label>Password <input name="password" type="password" autocomplete="current-password" required></label></p>
<p><button>Log in</button></p></form>
<script>{_SCRIPT}</script></body></html>
"""

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class LoginFallback:
    @endpoint("GET", "/_matrix/static/client/login/", Access.OPEN)
    @endpoint("GET", "/_matrix/static/client/login", Access.OPEN)
    async def page(self, call: Call) -> Answer:
        return Answer(_PAGE.encode(), headers=_HEADERS, content_type="text/html; charset=utf-8")
