"""Every feature by a slow second method: one pair at a time, from lists of the events that its clock allows."""

import math
from datetime import date, timedelta
from itertools import pairwise
from statistics import mean, pstdev

from recsys_spark.contracts.candidate_config import SOURCES as ALL_SOURCES

NUM_ITEMS, NUM_CUSTOMERS, HIST_MAX = 12, 9, 20


def slow(events, customer, item):
    before = [(half / 2, code, quantity) for who, half, code, quantity in events if who == customer and half < 241]
    own = [(day, quantity) for day, code, quantity in before if code == item]
    orders = sorted({day for day, _, _ in before})
    told = {"times_bought": len(own), "num_orders": len(orders), "num_items": len({code for _, code, _ in before})}
    told["basket_size"] = len(before) / len(orders)
    told["days_since_order"] = 120.5 - orders[-1]
    for window in (7, 28, 90):
        told[f"sales_{window}"] = sum(
            1 for _, half, code, _ in events if code == item and 120 - window <= half // 2 < 120
        )
    told["rate_per_order"] = len(own) / len(orders)
    told["days_since_last"] = 120.5 - own[-1][0] if own else 1000
    told["days_since_first"] = 120.5 - own[0][0] if own else 1000
    told["orders_since_last"] = sum(day > own[-1][0] for day in orders) if own else 1000
    told["rate_since_first"] = len(own) / sum(day >= own[0][0] for day in orders) if own else 0
    told["quantity_last"] = own[-1][1] if own else 0
    told["mean_gap"] = (own[-1][0] - own[0][0]) / (len(own) - 1) if len(own) > 1 else 1000
    told["hist_len"] = min(len(before), HIST_MAX) / HIST_MAX
    told["overdue"] = (told["days_since_last"] + 1) / (told["mean_gap"] + 1) if len(own) > 1 else 0
    told["order_gap"] = (orders[-1] - orders[0]) / (len(orders) - 1) if len(orders) > 1 else 1000
    is_new = [code not in [other for _, other, _ in before[:place]] for place, (_, code, _) in enumerate(before)]
    told["share_new"] = sum(is_new[-50:]) / len(is_new[-50:])
    told["trend"] = math.log((told["sales_28"] + 1) / 28 / ((told["sales_90"] + 1) / 90))
    told |= {"num_customers": item + 1, "repeat_rate": 1 - (item + 1) / (3 * item), "item_age": 120 - item % 5}
    told["pop"] = math.log(1 + 3 * item) / math.log(1 + 3 * NUM_ITEMS)
    logs = [math.log(other / 2) for other in range(1, NUM_ITEMS + 1) if other != 4]
    told["price_z"] = 0 if item == 4 else (math.log(item / 2) - mean(logs)) / pstdev(logs)
    told["category_share"] = sum(code % 2 == 1 for _, code, _ in before) / len(before) if item % 2 else 0
    told |= slow_rhythm(before, orders, item)
    brand = item % 3
    user = customer + 1
    sold = 0 if user == NUM_CUSTOMERS else item if item % 2 == user % 2 else 1
    by_channel = [0 if channel == item % 4 else item + channel for channel in range(3)]
    told |= {"showroom_sales": sold, "showroom_share": sold / (item + 1)}
    told["channel_sales"] = 0 if user == NUM_CUSTOMERS else by_channel[user % 3]
    told["channel_share"] = told["channel_sales"] / sum(by_channel)
    told["brand_share"] = sum(code % 3 == brand for _, code, _ in before) / len(before) if brand else 0
    told |= slow_calendar(date(1970, 1, 1) + timedelta(days=120)) | slow_recency(told["days_since_order"])
    return told | slow_sources(item)


def slow_rhythm(before, orders, item):
    """before: (day, item, quantity) of the customer; item n is of a category where n is odd, and has a gap unless 5."""
    own = [day for day, code, _ in before if code == item]
    told = {f"times_{limit}": sum(120.5 - day <= limit for day in own) for limit in (28, 90)}
    told |= {f"times_{limit}_orders": sum(day in orders[-limit:] for day in own) for limit in (5, 20)}
    told["item_gap"] = 1000 if item == 5 else item - 1
    told["item_overdue"] = math.log((121.5 - own[-1]) / item) if own and item != 5 else 0
    of_category = [(day, code) for day, code, _ in before if code % 2 and item % 2]
    last = of_category[-1][0] if of_category else None
    told["days_since_category"] = 120.5 - last if of_category else 1000
    told["orders_since_category"] = sum(day > last for day in orders) if of_category else 1000
    told["category_times"] = len(of_category)
    told["category_times_28"] = sum(120.5 - day <= 28 for day, _ in of_category)
    told["category_items"] = len({code for _, code in of_category})
    return told


def slow_sources(item):
    """What `all_pairs` says: `own` lists two items of three, `ease` none, the others are off."""
    told = {f"rank_{source}": 1000 for source in ALL_SOURCES} | {f"score_{source}": 0 for source in ALL_SOURCES}
    return told | {"rank_own": item % 3 or 1000, "score_own": item % 3 / 2, "num_sources": int(item % 3 > 0)}


def slow_calendar(day):
    """By the calendar of Python; weeks begin with Sunday."""
    quarter = (day.month - 1) // 3
    first = date(day.year, 3 * quarter + 1, 1)
    after = date(day.year + 1, 1, 1) if quarter == 3 else date(day.year, 3 * quarter + 4, 1)
    circles = {
        "month": (day - date(1970, 1, 1)) / timedelta(days=365.2425),
        "quarter": quarter / 4,
        "quarter_day": (day - first).days / (after - first).days,
        "weekday": day.isoweekday() % 7 / 7,
    }
    turned = {"sin": math.sin, "cos": math.cos}
    return {f"{name}_{way}": turned[way](2 * math.pi * part) for name, part in circles.items() for way in turned}


def slow_recency(days):
    bounds = [0, 1, 7, 14, 28, 90, math.inf]
    names = [f"recency_to_{bound}" for bound in bounds[1:-1]] + ["recency_over_90"]
    return {name: float(low < days <= high) for name, (low, high) in zip(names, pairwise(bounds), strict=True)}
