"""What uploads give away: attacks on the bytes that a configuration sends, by an attacker who knows more and more."""
