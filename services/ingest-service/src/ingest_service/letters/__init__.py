"""Dead letters that are given another try, each under the origin that it had (LAKE-91)."""
