"""Response policy zones to be published: their content, order and journal. Pure; transfers are drivers'."""
