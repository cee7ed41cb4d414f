set logscale xy
set xlabel "rules"
set ylabel "connections, of direct"
set xtics ("1" 1, "16" 16, "256" 256, "4,096" 4096, "65,535" 65535)
set xrange [0.8:100000]
set yrange [0.01:2]
plot for [i = 0:count - 1] data index i using 1:2 with linespoints lt colour_of(i) \
	title columnheader(1)
