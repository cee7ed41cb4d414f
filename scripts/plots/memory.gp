set logscale xy
set xlabel "connections held open"
set ylabel "kernel memory for each, bytes"
set xtics ("1,000" 1000, "3,000" 3000, "9,000" 9000, "30,000" 30000, "100,000" 100000)
set xrange [800:125000]
set yrange [1000:*]
plot for [i = 0:count - 1] data index i using 1:2 with linespoints lt colour_of(i) \
	title columnheader(1)
