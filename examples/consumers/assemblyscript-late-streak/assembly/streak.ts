import { quote } from "./json";

/** Flights that left one airport late, one after the other. */
export class Streak {
  private flights: Set<string> = new Set<string>();
  private minutes: f64 = 0;

  /** False if the flight has been counted before: an event may come twice. */
  add(id: string, minutes: f64): bool {
    if (this.flights.has(id)) return false;
    this.flights.add(id);
    this.minutes += minutes;
    return true;
  }

  get length(): i32 {
    return this.flights.size;
  }

  get mean(): f64 {
    return Math.round(this.minutes / f64(this.flights.size));
  }

  /** In JSON. */
  ids(): string {
    return "[" + this.flights.values().map<string>((id) => quote(id)).join(",") + "]";
  }
}
