"""Finding the smallest trim policy that labelled questions certify."""
