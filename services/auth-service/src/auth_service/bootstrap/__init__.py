"""The first start: the admin key, workspace `demo` and the credentials file that tells them."""
